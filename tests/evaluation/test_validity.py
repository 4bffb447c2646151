"""Bad input: what nothing could be measured with is refused in one line."""

from dataclasses import replace

import pytest

from cli.comparison.options import comparison
from edge.answers.single import Single
from edge.core.events import Request, Served
from edge.estimators.table import Table
from evaluation.scenario import MS, Scenario, affine
from evaluation.validity import check, doubts
from porting.errors import UserError
from porting.variant import Stage, Variant


def asked(slo_ms: float | None, app: str = "m", number: int = 1) -> Request:
    return Request(number, app, "s", 0, None if slo_ms is None else round(slo_ms * MS))


def box(*requests: Request, **more) -> Scenario:
    return Scenario("box", (affine("m", 4, 6),), requests, **more)


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        (replace(box(asked(50)), served=()), "box: no model is served; there is nothing to schedule"),
        (replace(box(asked(50)), lanes=()), "box: no lane"),
        (box(), "box: no request arrives; make it longer or raise the load"),
        (box(asked(None), asked(None, number=2)), "box: no request has a deadline; give one to some"),
        (box(asked(9.9)), "m: its SLO of 9.9 ms is shorter than its fastest run of 10 ms; no policy can keep it"),
        (box(asked(50), asked(5, number=2)), "m: its SLO of 5 ms is shorter"),
        (box(asked(5, "app"), answers={"app": Single("m")}), "app: its SLO of 5 ms is shorter"),
        (box(asked(50, "n")), "n: no model 'n' is served; served: m"),
    ],
)
def test_each_reason_is_one_line(scenario: Scenario, said: str):
    with pytest.raises(UserError) as caught:
        check(scenario)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scenario", [box(asked(10)), box(asked(50), asked(None, number=2)), box(asked(50, "m"))])
def test_what_can_be_kept_passes(scenario: Scenario):
    check(scenario)


def test_the_fastest_variant_counts():
    small = affine("m", 1, 1)
    both = replace(
        affine("m", 4, 6),
        stages=(*affine("m", 4, 6).stages, *renamed(small).stages),
        others=(renamed(small).variant,),
    )
    check(replace(box(asked(2)), served=(both,)))


def test_the_lane_s_own_profile_counts():
    class Fast(Table):
        def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
            return MS

    check(box(asked(2), profile=Fast()))


def renamed(served: Served) -> Served:
    (stage,) = served.stages
    other = replace(stage, graph="small")
    return Served(Variant("m", "small", (other.digest,)), (other,))


def test_a_profile_that_falls_is_told():
    stage = Stage("onnx", "m", batches=(1, 2, 4), blobs={"m": 1}, durations_ns={1: 4 * MS, 2: 6 * MS, 4: 5 * MS})
    scenario = replace(box(asked(50)), served=(Served(Variant("m", "fp32", (stage.digest,)), (stage,)),))
    (said,) = doubts(scenario)
    assert said.startswith("m: its profile falls from 6 ms at batch 2 to 5 ms at batch 4")
    assert doubts(box()) == ()


def test_a_comparison_tells_its_doubts():
    stages = tuple(replace(stage, durations_ns={1: 10 * MS, 2: 5 * MS}) for stage in affine("m", 4, 6).stages)
    falling = replace(box(asked(50)), served=(replace(affine("m", 4, 6), stages=stages),))
    notes = comparison([falling], ["edf"], None, "", lambda needs: "").notes
    assert [note for note in notes if note.startswith("m: its profile falls from 10 ms at batch 1 to 5 ms at batch 2")]
