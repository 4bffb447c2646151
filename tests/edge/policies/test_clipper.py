"""Clipper: the cap's way up and down, what it learns from and what not, and the line through the slow batches."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Failed, Plan, Planned, Woke
from edge.policies.blocks.aimd import Aimd
from edge.policies.blocks.quantile_batch import Quantile, fitted, loss
from edge.policies.clipper import Clipper
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import served, stage

A = affine("a", 1, 4)  # a batch of b takes b + 4 ms, for every b up to 32
COARSE = served("a", stage("a", 5))  # takes 1, 2, 4, 8
CHAIN = served("a", stage("backbone", 5), stage("head", 3, head="h0"))
Build = Callable[..., Any]


def test_the_cap_creeps_up_and_backs_off_a_little() -> None:
    """One more while a full batch of b takes b + 4 of 12; a tenth less when it took longer."""
    cap, limits = Aimd(), []
    for _ in range(14):
        limits.append(cap.limit(12))
        cap.learn(limits[-1], True, limits[-1] + 4, 12, 32)
    assert limits == [1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 9, 8, 9, 8]


@pytest.mark.parametrize(
    ("cap", "full", "took", "after"),
    [
        (5.0, True, 10, 6.0),  # in time, to the nanosecond
        (5.0, True, 11, 4.5),
        (5.0, False, 9, 5.0),  # a batch that was not full says nothing of a larger one
        (5.0, False, 11, 4.5),  # but too long is too long
        (1.0, True, 11, 1.0),  # one at least
        (8.0, True, 10, 8.0),  # no more than the stage takes
    ],
)
def test_a_batch_teaches(cap: float, full: bool, took: int, after: float) -> None:
    controller = Aimd(cap=cap)
    controller.learn(3, full, took, 10, batch_max=8)
    assert controller.cap == pytest.approx(after)


# ---- in the core ---------------------------------------------------------------------------------------------------


def cap_of(policy: Clipper) -> float:
    (cap,) = policy.caps.values()
    assert isinstance(cap, Aimd)
    return cap.cap


def asked(box: Any, count: int, slo_ms: float = 1_000) -> list[int]:
    return [box.ask("a", slo_ms=slo_ms) for _ in range(count)]


def sizes_until_idle(box: Any, took_ms: Callable[[int], float]) -> list[int]:
    sizes = []
    while box.running():
        sizes.append(len(box.running().tasks))
        box.finish(at_ms=box.now_ms + took_ms(sizes[-1]))
    return sizes


def test_batches_grow_one_by_one(core: Build) -> None:
    box = core(A, policy=complete(Clipper()))
    asked(box, 60)
    assert sizes_until_idle(box, lambda batch: batch + 4) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 5]
    assert box.clean()


def test_a_size_that_is_not_accepted_does_not_stop_the_growth(core: Build) -> None:
    box = core(COARSE, policy=complete(Clipper()))
    asked(box, 40)
    assert sizes_until_idle(box, lambda batch: 5)[:9] == [1, 2, 2, 4, 4, 4, 4, 8, 8]


def test_the_time_of_service_teaches_not_the_time_of_waiting(core: Build) -> None:
    """The second one is answered 105 ms after it came, of 100; but its batch took 15 of them."""
    policy = Clipper()
    box = core(A, policy=complete(policy))
    asked(box, 1)
    box.ask("a", slo_ms=100)
    box.finish(at_ms=90)
    box.finish(at_ms=105)
    assert cap_of(policy) == 2.0


def test_longer_than_the_deadline_gives_is_too_long(core: Build) -> None:
    policy = Clipper()
    box = core(A, policy=complete(policy))
    asked(box, 5, slo_ms=300)
    sizes_until_idle(box, lambda batch: 5)
    assert cap_of(policy) == 3.0, "the last batch was not full"
    box.ask("a", slo_ms=100)
    box.finish(at_ms=box.now_ms + 100.001)
    assert cap_of(policy) == pytest.approx(2.7)


def test_the_other_stages_of_a_chain_have_their_part(core: Build) -> None:
    """Of 20 ms the head takes 3, so the backbone may take 17."""
    policy = Clipper()
    box = core(CHAIN, policy=complete(policy))
    for took_ms, cap in ((17, 2.0), (17.001, 1.8)):
        box.ask("a", slo_ms=20)
        box.finish(at_ms=box.now_ms + took_ms)
        assert policy.caps[CHAIN.variant.stages[0], "cpu0"].cap == pytest.approx(cap)
        box.finish(at_ms=box.now_ms + 1)


def test_a_plan_may_give_a_model_less(core: Build) -> None:
    policy = Clipper()
    box = core(A, policy=complete(policy))
    box.do(Planned(Plan(budgets_ns={"a": 6_000_000})))
    for took_ms, cap in ((6, 2.0), (6.001, 1.8)):
        asked(box, 1)
        box.finish(at_ms=box.now_ms + took_ms)
        assert cap_of(policy) == pytest.approx(cap)


def test_it_learns_once_from_each_work(core: Build) -> None:
    policy = Clipper()
    box = core(A, policy=complete(policy))
    asked(box, 1)
    box.finish(at_ms=5)
    for at_ms in (6, 7, 8):
        box.do(Woke(), at_ms=at_ms)
    policy.decide(box.state, box.state.now)
    assert cap_of(policy) == 2.0


def test_a_work_that_failed_teaches_nothing(core: Build) -> None:
    policy = Clipper()
    box = core(A, policy=complete(policy))
    asked(box, 1)
    box.do(Failed(box.running().work_id, "weather"), at_ms=900)
    assert cap_of(policy) == 1.0


def test_each_lane_has_a_cap_of_its_own(core: Build) -> None:
    policy = Clipper()
    box = core(A, policy=complete(policy), lanes={"x": 10**6, "y": 10**6})
    asked(box, 2)
    box.finish(at_ms=5, lane="x")
    assert [cap.limit(0) for cap in policy.caps.values()] == [2, 1]


def test_a_small_batch_waits_for_more(core: Build) -> None:
    policy = Clipper(wait_ms=2)
    box = core(A, policy=complete(policy))
    asked(box, 1)
    box.finish(at_ms=4)
    assert cap_of(policy) == 2.0
    asked(box, 1)
    assert box.running() is None
    assert box.woken_at_ms() == 6
    box.do(Woke(), at_ms=6)
    assert len(box.running().tasks) == 1
    asked(box, 2)
    box.finish(at_ms=7)
    assert len(box.running().tasks) == 2, "the cap is reached"


def test_what_is_hopeless_is_run_and_what_has_expired_is_not(core: Build) -> None:
    box = core(A, policy=complete(Clipper()))
    asked(box, 1)
    hopeless, over = box.ask("a", slo_ms=12), box.ask("a", slo_ms=9)
    box.finish(at_ms=10)
    assert box.outcome(over) == "late"
    assert box.running().tasks[0].request == hopeless


# ---- the other way to find a batch ---------------------------------------------------------------------------------


def test_the_regression_finds_what_the_cap_would_have_to_run_into(core: Build) -> None:
    """A batch of b takes b + 4 ms: after two sizes it knows that 12 go into 16, but doubles at most."""
    box = core(A, policy=complete(Clipper("quantile")))
    box.do(Planned(Plan(budgets_ns={"a": 16_000_000})))
    asked(box, 50)
    assert sizes_until_idle(box, lambda batch: batch + 4) == [1, 2, 4, 8, 12, 12, 11]


def test_the_line_is_the_one_through_the_points() -> None:
    base, slope = fitted([(batch, 7 * batch + 400) for batch in (1, 2, 5, 9)], 0.99)
    assert (base, slope) == (pytest.approx(400, abs=0.1), pytest.approx(7, abs=0.1))


def test_the_line_of_a_high_quantile_lies_over_the_slow_ones() -> None:
    quick = [(batch, 100 * batch) for batch in range(1, 11)] * 4
    slow = [(batch, 100 * batch + 50) for batch in range(1, 11)]
    base, slope = fitted(quick + slow, 0.9)
    assert (base, slope) == (pytest.approx(50, abs=0.5), pytest.approx(100, abs=0.1))
    base, slope = fitted(quick + slow, 0.5)
    assert (base, slope) == (pytest.approx(0, abs=0.5), pytest.approx(100, abs=0.1))


def test_where_a_batch_costs_nothing_more_it_grows_and_doubles_at_most() -> None:
    cap, sizes = Quantile(), []
    for _ in range(6):
        sizes.append(cap.limit(10))
        cap.learn(sizes[-1], True, 5, 10, 32)
    assert sizes[:3] == [1, 2, 4]
    assert all(later <= 2 * max(sizes[:at]) for at, later in enumerate(sizes) if at)


points = st.lists(st.tuples(st.integers(1, 32), st.integers(1, 10**6)), min_size=3, max_size=9)


@given(points, st.sampled_from([0.5, 0.9, 0.99]))
def test_no_rising_line_through_two_points_is_better(seen: list[tuple[int, int]], quantile: float) -> None:
    """The optimum of a linear quantile regression passes through two points, or is level here."""
    _, slope = fitted(seen, quantile)
    pairs = [(b - a, later - sooner) for (a, sooner), (b, later) in combinations(sorted(seen), 2) if a != b]
    slopes = [0.0, *(rise / run for run, rise in pairs if rise >= 0)]
    least = min(loss(seen, rising, quantile) for rising in slopes)
    assert loss(seen, slope, quantile) <= least * 1.0001 + 1
