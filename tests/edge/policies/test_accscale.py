"""When a queue can wait no longer, by hand; and variants in the shares of the plan."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import Failed, Plan, Planned, Woke
from edge.core.interfaces import Moment
from edge.policies.accscale import AccScale
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from tests.edge.policies.variants_builder import variants

Build = Callable[..., Any]
EYE = affine("eye", 1, 5, 8)  # a batch of b takes b + 5 ms


def box_of(core: Build, *served: Any, policy: AccScale | None = None) -> Any:
    return core(*(served or (EYE,)), policy=complete(policy or AccScale()))


def test_it_waits_for_the_last_moment_of_what_stands_there(core: Build) -> None:
    box = box_of(core)
    box.ask("eye", slo_ms=50)
    assert (box.running(), box.woken_at_ms()) == (None, 44)
    box.ask("eye", slo_ms=90)
    assert (box.running(), box.woken_at_ms()) == (None, 43)
    box.wake()
    assert len(box.running().tasks) == 2


def test_one_too_many_makes_the_others_go_without_it(core: Build) -> None:
    """At 43.5 ms one alone could still wait until 44, two could not any more."""
    box = box_of(core)
    box.ask("eye", slo_ms=50)
    box.ask("eye", slo_ms=50, at_ms=43.5)
    assert [task.id for task in box.running().tasks] == [1]


@pytest.mark.parametrize(("batch_max", "waiting"), [(1, 1), (3, 3), (32, 8)])
def test_a_full_batch_has_nothing_to_wait_for(core: Build, batch_max: int, waiting: int) -> None:
    box = box_of(core, policy=AccScale(batch_max=batch_max))
    for _ in range(waiting):
        assert box.running() is None
        box.ask("eye", slo_ms=50)
    assert len(box.running().tasks) == waiting


def test_queues_of_one_lane_do_not_wait_for_the_same_moment(core: Build) -> None:
    """b takes 20 ms and is due at 55: it begins at 35 at the latest. a takes 10: it begins at 25, not at 40."""
    box = box_of(core, affine("a", 0, 10, 8), affine("b", 0, 20, 8))
    box.ask("a", slo_ms=50)
    box.ask("b", slo_ms=55)
    assert box.woken_at_ms() == 25
    box.wake()
    assert [task.model for task in box.running().tasks] == ["a"]
    box.finish(at_ms=35)
    assert [task.model for task in box.running().tasks] == ["b"]


def test_what_failed_goes_alone_and_at_once(core: Build) -> None:
    box = box_of(core, policy=AccScale(batch_max=2))
    for _ in range(2):
        box.ask("eye", slo_ms=50)
    box.do(Failed(box.running().work_id, "weather"))
    assert [task.id for task in box.running().tasks] == [1]


# ---- shares --------------------------------------------------------------------------------------------------------

TWO = variants("eye", 1, exact=(20, 0, 0.9), quick=(5, 0, 0.7))


def walked(box: Any, policy: AccScale, number: int, slo_ms: float = 50) -> str:
    """The variants that so many requests run, one after the other: e or q."""
    names = ""
    for _ in range(number):
        box.ask("eye", slo_ms=slo_ms)
        run = box.running()
        policy.observe(Moment(0, Woke(), (run,), box.state))
        names += (run.variant or "exact")[0]
        box.finish()
    return names


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({}, "eeee"),  # no plan: the one that serves
        ({"exact": 0.75, "quick": 0.25}, "eeqeeeqe"),
        ({"exact": 0.25, "quick": 0.75}, "qeqqqeqq"),
        ({"quick": 1.0}, "qqqq"),
        ({"gone": 1.0}, "eqeq"),  # a plan of variants that are not there: none is meant, all lack the same
    ],
)
def test_shares_are_kept(core: Build, shares: dict[str, float], expected: str) -> None:
    policy = AccScale()
    box = box_of(core, TWO, policy=policy)
    if shares:
        box.do(Planned(Plan(variants={"eye": shares})))
        policy.observe(Moment(0, Woke(), (), box.state))
    assert walked(box, policy, len(expected)) == expected


def test_another_plan_begins_to_count_anew(core: Build) -> None:
    policy = AccScale()
    box = box_of(core, TWO, policy=policy)
    for share in (1.0, 0.5):
        box.do(Planned(Plan(variants={"eye": {"exact": share, "quick": 1 - share}})))
        policy.observe(Moment(0, Woke(), (), box.state))
        assert walked(box, policy, 4) == ("eeee" if share == 1 else "eqeq")


def test_a_variant_that_would_be_late_is_passed_over(core: Build) -> None:
    policy = AccScale()
    box = box_of(core, TWO, policy=policy)
    box.do(Planned(Plan(variants={"eye": {"exact": 0.9, "quick": 0.1}})))
    policy.observe(Moment(0, Woke(), (), box.state))
    assert walked(box, policy, 3, slo_ms=19) == "qqq"
