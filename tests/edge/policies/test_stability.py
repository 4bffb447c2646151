"""The stability score by hand, exits that fit, and requests that count for more when their app was served badly."""

from collections.abc import Callable
from math import exp
from typing import Any

import pytest

from edge.policies.stability import Stability
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from tests.edge.policies.blocks.test_variant_options import exits
from tests.edge.policies.variants_builder import variants

Build = Callable[..., Any]


def box_of(core: Build, *served: Any, policy: Stability | None = None) -> Any:
    """A lane that is busy until `finish`."""
    box = core(affine("busy", 0, 1), *served, policy=complete(policy or Stability()))
    box.ask("busy", slo_ms=1)
    return box


def model(box: Any) -> list[str]:
    return [task.model for task in box.running().tasks]


def test_what_leaves_the_rest_least_urgent(core: Build) -> None:
    """A takes 10 ms of 15, B takes 4 ms of 20. A first leaves B at exp(10/20 - 1) = 0.61, B first leaves A at
    exp(4/15 - 1) = 0.48: B goes, though A is due first, and A is in time all the same.
    """
    box = box_of(core, affine("a", 0, 10), affine("b", 0, 4))
    box.ask("a", slo_ms=15)
    box.ask("b", slo_ms=20)
    assert exp(4 / 15 - 1) < exp(10 / 20 - 1)
    box.finish()
    assert model(box) == ["b"]
    box.finish(at_ms=4)
    assert model(box) == ["a"]


def test_a_batch_takes_its_own_urgency_away(core: Build) -> None:
    """Four of A in 10 ms leave B at exp(10/20 - 1) = 0.61; B leaves four of A at 4 x 0.48."""
    box = box_of(core, affine("a", 0, 10), affine("b", 0, 4))
    for app, slo_ms in (("a", 15),) * 4 + (("b", 20),):
        box.ask(app, slo_ms=slo_ms)
    box.finish()
    assert model(box) == ["a"] * 4


def test_of_equal_scores_the_more_urgent_head(core: Build) -> None:
    box = box_of(core, affine("a", 0, 4), affine("b", 0, 4))
    for app in ("b", "a"):
        box.ask(app, slo_ms=40)
    box.finish()
    assert model(box) == ["b"]  # equal deadlines: who came first


@pytest.mark.parametrize(
    ("slack_ms", "waiting", "expected"),
    [
        (24, 4, ("deep", 4)),
        (23, 4, ("shallow", 4)),
        (7, 4, ("shallow", 4)),
        (6, 4, ("shallow", 3)),  # no exit is in time for all of them
        (4, 4, ("shallow", 1)),
        (12, 1, ("deep", 1)),
        (11, 1, ("shallow", 1)),
    ],
)
def test_the_deepest_exit_in_time_for_all_that_wait(
    core: Build, slack_ms: float, waiting: int, expected: tuple[str, int]
) -> None:
    box = box_of(core, variants("eye", 4, deep=(4, 8, 0.9), shallow=(1, 3, 0.7)))
    for slo_ms in (slack_ms, *[1000] * (waiting - 1)):
        box.ask("eye", slo_ms=slo_ms)
    box.finish()
    run = box.running()
    assert (run.variant or "deep", len(run.tasks)) == expected


@pytest.mark.parametrize(("slack_ms", "stages"), [(11, 3), (10, 2)])
def test_exits_that_share_stages(core: Build, slack_ms: float, stages: int) -> None:
    """The first half runs either way; the variant says where the tasks leave."""
    box = box_of(core, exits(), policy=Stability(boundary_ms=0))
    box.ask("eye", slo_ms=slack_ms)
    box.finish()
    assert len(box.running().tasks[0].chain) == stages


def test_an_app_that_was_served_badly_counts_for_more(core: Build) -> None:
    """As in the first test B would go first; but half of A's requests were late of late, so A weighs 2."""
    policy = Stability(debt_min=0.2)
    policy.attainment.shares.update(a=0.5, b=1.0)
    box = box_of(core, affine("a", 0, 10), affine("b", 0, 4), policy=policy)
    box.ask("a", slo_ms=15)
    box.ask("b", slo_ms=20)
    box.finish()
    assert model(box) == ["a"]  # 0.61 for B is less than 2 x 0.48 for A


def test_the_weight_has_a_limit(core: Build) -> None:
    policy = Stability(debt_min=0.9)
    policy.attainment.shares.update(a=0.0)
    box = box_of(core, affine("a", 0, 10), affine("b", 0, 4), policy=policy)
    box.ask("a", slo_ms=15)
    box.ask("b", slo_ms=20)
    box.finish()
    assert model(box) == ["b"]  # 0.48 / 0.9 = 0.53


@pytest.mark.parametrize("options", [{"cap": 0}, {"batch_max": 0}])
def test_options_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Stability(**options)
