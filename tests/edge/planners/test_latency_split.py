"""The division of a deadline: against brute force, by hand, and learnt from what happens."""

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import LaneUp, Planned
from edge.core.interfaces import Moment
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import State
from edge.estimators.table import Table
from edge.planners.blocks.duty_cycles import Session
from edge.planners.latency_split import IMPOSSIBLE, LatencySplit, Pipeline, costs, parts, solve
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import ANSWERS, DETECTIONS, MS, cameras, models

COSTS = st.lists(st.floats(0, 10), min_size=7, max_size=7).map(lambda drawn: sorted(drawn, reverse=True))


def session(ms_per_item: float, ms_per_batch: float, slo_ms: float) -> Session:
    def duration_ns(batch: int, lane: str) -> int:
        return round((ms_per_item * batch + ms_per_batch) * MS)

    return Session("m", 1, round(slo_ms * MS), (1, 2, 4, 8), duration_ns)


def test_one_model_may_take_all_of_the_time() -> None:
    """The published code stops one step short, and so finds nothing where all of the time is needed."""
    alone = Pipeline("a", [IMPOSSIBLE, IMPOSSIBLE, IMPOSSIBLE, 1.0])
    solved = solve(alone)
    assert solved.costs[3] == 1.0
    assert dict(parts(solved, 3)) == {"a": 3}


def test_two_models_that_need_exactly_all_of_it_get_it() -> None:
    pair = Pipeline("a", [IMPOSSIBLE, IMPOSSIBLE, 1, 1], [Pipeline("b", [IMPOSSIBLE, 2, 2, 2])])
    assert dict(parts(solve(pair), 3)) == {"a": 2, "b": 1}
    assert solve(pair).costs[2] == IMPOSSIBLE


def test_time_goes_where_it_saves_most() -> None:
    flat, steep = [5, 5, 5, 5, 5, 5], [IMPOSSIBLE, 9, 7, 5, 3, 1]
    assert dict(parts(solve(Pipeline("a", steep, [Pipeline("b", flat)])), 5)) == {"a": 5, "b": 0}
    assert dict(parts(solve(Pipeline("a", flat, [Pipeline("b", steep)])), 5)) == {"a": 0, "b": 5}


def test_every_path_has_all_of_the_time() -> None:
    fork = Pipeline("a", [IMPOSSIBLE, 1, 1, 1, 1], [Pipeline("b", [9, 8, 7, 1, 1]), Pipeline("c", [9, 1, 1, 1, 1])])
    assert dict(parts(solve(fork), 4)) == {"a": 1, "b": 3, "c": 3}


def brute(pipeline: Pipeline, total: int) -> float:
    following = [
        sum(brute(after, total - own) for after in pipeline.then) + pipeline.costs[own] for own in range(total + 1)
    ]
    return min(following)


@given(COSTS, COSTS, COSTS, COSTS)
def test_no_division_is_cheaper(a: Sequence[float], b: Sequence[float], c: Sequence[float], d: Sequence[float]) -> None:
    tree = Pipeline("a", a, [Pipeline("b", b, [Pipeline("c", c)]), Pipeline("d", d)])
    solved = solve(tree)
    by_hand = [
        a[own] + b[second] + c[third] + d[6 - own]
        for own, second, third in product(range(7), repeat=3)
        if own + second + third <= 6
    ]
    assert solved.costs[6] == pytest.approx(min(by_hand)) == pytest.approx(brute(tree, 6))
    steps = dict(parts(solved, 6))
    assert steps["a"] + steps["b"] + steps["c"] <= 6
    assert steps["a"] + steps["d"] <= 6
    assert a[steps["a"]] + b[steps["b"]] + c[steps["c"]] + d[steps["d"]] == pytest.approx(solved.costs[6])


def test_a_batch_may_take_half_of_the_time_and_larger_ones_are_cheaper() -> None:
    found = costs(session(1, 4, slo_ms=20), ["x"], per_request=2, steps=20)
    assert found[9] == IMPOSSIBLE
    assert found[10] == pytest.approx(2 * 0.005)  # one in 5 ms
    assert found[12] == pytest.approx(2 * 0.003)  # two in 6 ms
    assert found[16] == pytest.approx(2 * 0.002)  # four in 8 ms
    assert found[20] == found[16]


def test_budgets_are_learnt_from_what_the_detector_finds() -> None:
    split = LatencySplit()
    world = SimulatedWorld(
        1, cameras(1, 400), [LaneUp("sim0", "simulated", 20_000)], models(), DETECTIONS, profile=Table()
    )
    state = State(Table())
    run(Scheduler(state, complete(EarliestDeadlineFirst()), ANSWERS), world, (split,))
    budgets = state.plan.budgets_ns
    assert set(budgets) == {"detector", "persons", "vehicles"}
    for child in ("persons", "vehicles"):
        assert budgets["detector"] + budgets[child] == 100 * MS
    assert all(budget > 0 for budget in budgets.values())


def test_apps_of_one_model_have_no_budgets() -> None:
    split, planned = LatencySplit(), []

    class Listens:
        def observe(self, moment: Moment) -> tuple[()]:
            planned.extend([moment.event] if isinstance(moment.event, Planned) else [])
            return ()

    world = SimulatedWorld(1, cameras(1, 400), [LaneUp("sim0", "simulated", 20_000)], models(), profile=Table())
    run(Scheduler(State(Table()), complete(EarliestDeadlineFirst()), ANSWERS), world, (split, Listens()))
    assert planned == []
