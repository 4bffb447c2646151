"""As few cores as do, then as small a batch: by hand, with durations of 8 b / c + 4 / c + 1 ms."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.policies.sponge import Sponge
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import MS
from porting.variant import Stage

Build = Callable[..., Any]
THREADS = {"one": 1, "two": 2, "four": 4}
# batches       1   2   3   4
# on 1 core:   13  21  29  37 ms
# on 2 cores:   7  11  15  19
# on 4 cores:   4   6   8  10


class ByCores:
    """An estimator."""

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return round((8 * batch / THREADS[lane] + 4 / THREADS[lane] + 1) * MS)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Nothing."""


def box_of(core: Build, policy: Sponge | None = None, lanes: tuple[str, ...] = ("four", "one", "two")) -> Any:
    policy = policy or Sponge(threads=THREADS, cores=4)
    box = core(affine("eye", 1, 1, 4), policy=complete(policy), lanes=dict.fromkeys(lanes, 10**6))
    box.state.estimator = ByCores()
    return box


def works(box: Any) -> dict[str, int]:
    """Lane -> batch."""
    return {lane.name: len(lane.running.tasks) for lane in box.state.lanes.values() if lane.running}


@pytest.mark.parametrize(("slo_ms", "lane"), [(50, "one"), (13, "one"), (12, "two"), (7, "two"), (6, "four")])
def test_as_few_cores_as_make_it(core: Build, slo_ms: float, lane: str) -> None:
    box = box_of(core)
    box.ask("eye", slo_ms=slo_ms)
    assert works(box) == {lane: 1}


@pytest.mark.parametrize(
    ("waiting", "slo_ms", "expected"),
    [
        (2, 26, ("one", 1)),  # 13 and 26 ms
        (2, 25, ("one", 2)),  # one by one no more, but both in 21
        (2, 20, ("two", 1)),  # 7 and 14
        (2, 13, ("two", 2)),  # 11
        (2, 10, ("four", 1)),  # 4 and 8
        (2, 6, ("four", 2)),
        (4, 9, ("four", 3)),  # nothing does for all: the most cores, as many as the first can wait for
        (4, 37, ("one", 4)),
        (3, 34, ("one", 2)),  # 21 and 34
    ],
)
def test_then_as_small_a_batch(core: Build, waiting: int, slo_ms: float, expected: tuple[str, int]) -> None:
    """All cores are taken until the last of them has come."""
    box = box_of(core)
    box.ask("eye", slo_ms=5)
    assert works(box) == {"four": 1}
    for _ in range(waiting):
        box.ask("eye", slo_ms=slo_ms)
    box.finish(at_ms=0, lane="four")
    (lane, batch) = expected
    assert works(box)[lane] == batch


def test_no_more_cores_than_there_are(core: Build) -> None:
    """Two run on two of four cores, so the next may have two, though it wants four; the last has to wait."""
    box = box_of(core)
    for slo_ms in (12, 30, 6):
        box.ask("eye", slo_ms=slo_ms)
    assert works(box) == {"two": 1, "one": 1}
    box.finish(at_ms=1, lane="two")
    assert works(box) == {"two": 1, "one": 1}  # due at 6: the two cores that are free
    assert box.running("two").tasks[0].id == 3


def test_where_cores_are_no_matter_any_lane_may_run(core: Build) -> None:
    box = box_of(core, Sponge(threads=THREADS))
    for slo_ms in (6, 12, 30):
        box.ask("eye", slo_ms=slo_ms)
    assert works(box) == {"four": 1, "two": 1, "one": 1}


@pytest.mark.parametrize(
    ("rate", "expected"), [(0, ("one", 1)), (70, ("one", 1)), (100, ("one", 4)), (120, ("two", 1))]
)
def test_batches_keep_up_with_what_comes(core: Build, rate: int, expected: tuple[str, int]) -> None:
    """One core serves 77 a second one by one, 95 in twos, 103 in threes and 108 in fours; two cores 143 one by one."""
    policy = Sponge(threads=THREADS, cores=4)
    for number in range(rate):
        policy.traffic.meter.count("eye", number * 1000 * MS // rate)
    box = box_of(core, policy)
    box.ask("eye", slo_ms=5, at_ms=1000)
    for _ in range(4):
        box.ask("eye", slo_ms=500)
    box.finish(at_ms=1000, lane="four")
    lane, batch = expected
    assert works(box)[lane] == batch


@pytest.mark.parametrize("options", [{"threads": {"a": 0}}, {"threads": {"a": 5}, "cores": 4}, {"cores": -1}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="thread"):
        Sponge(**options)
