"""What dispatchers ask of a queue: batches by hand, laws by hypothesis."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import NEVER, Reply, Run, Task, WakeAt
from edge.core.residency import Residency
from edge.core.state import Lane, OpenRequest, State
from edge.estimators.table import Table
from edge.policies.blocks import feasibility
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import BATCHES, MS, served, stage
from porting.variant import Stage

Build = Callable[..., Any]

VEHICLES = served("vehicles", stage("vehicles", 5))  # batches of 1, 2, 4, 8 take 5, 7, 11, 19 ms
CHAIN = served("chain", stage("backbone", 5), stage("head", 3, head="h0"))


class Idle:
    """A policy that leaves everything where it is."""

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.deadline_ns or NEVER,)

    def decide(self, state: State, now: int) -> None:
        return None


@pytest.fixture
def crowd(core: Build) -> Callable[..., Any]:
    """`crowd(served, slos)`: a box whose requests wait, all come at 0."""

    def build(event: Any, *slos: float) -> Any:
        box = core(event, policy=complete(Idle()))
        for slo_ms in slos:
            box.ask(event.variant.model, slo_ms=slo_ms)
        return box

    return build


def parts(box: Any) -> tuple[State, Lane, list[Any]]:
    state = box.state
    return state, state.lanes["cpu0"], next(iter(state.queues.values()))


@pytest.mark.parametrize(
    ("slo_ms", "size"), [(4.9, 0), (5, 1), (6.9, 1), (7, 2), (10.9, 2), (11, 4), (19, 8), (1000, 8)]
)
def test_the_largest_batch_that_its_head_can_wait_for(crowd: Build, slo_ms: float, size: int) -> None:
    state, lane, queue = parts(crowd(VEHICLES, slo_ms, *[2000] * 8))
    assert feasibility.largest_feasible(state, queue, lane, 0, 32) == size


@pytest.mark.parametrize(
    ("waiting", "batch_max", "size"), [(1, 8, 1), (3, 8, 2), (7, 8, 4), (9, 8, 8), (9, 3, 2), (9, 1, 1)]
)
def test_a_batch_is_of_an_accepted_size_and_of_tasks_that_are_there(
    crowd: Build, waiting: int, batch_max: int, size: int
) -> None:
    state, lane, queue = parts(crowd(VEHICLES, *[1000] * waiting))
    assert feasibility.largest_feasible(state, queue, lane, 0, batch_max) == size


@pytest.mark.parametrize(("slo_ms", "size"), [(7.9, 0), (8, 1), (10, 2), (14, 4), (22, 8)])
def test_the_rest_of_the_chain_is_thought_of(crowd: Build, slo_ms: float, size: int) -> None:
    state, lane, queue = parts(crowd(CHAIN, slo_ms, *[1000] * 8))
    assert feasibility.tail_ns(state, queue[0][2], lane) == 3 * MS
    assert feasibility.largest_feasible(state, queue, lane, 0, 8) == size


def test_what_has_failed_before_goes_alone(crowd: Build) -> None:
    state, lane, queue = parts(crowd(VEHICLES, 100, 100))
    task = queue[0][2]
    failed = Task(task.id, task.request, task.model, task.chain, 0, 0, task.deadline_ns, attempts=1)
    assert feasibility.largest_feasible(state, [(queue[0][0], task.id, failed), *queue[1:]], lane, 0, 8) == 1


@pytest.mark.parametrize(
    ("drop", "at_ms", "given_up", "again_ms"),
    [
        ("never", 200, False, None),
        ("expired", 95, False, 100),
        ("expired", 100, False, 100),
        ("expired", 100.000001, True, None),
        ("hopeless", 95, False, 95),
        ("hopeless", 95.000001, True, None),
    ],
)
def test_whom_it_gives_up_and_when(crowd: Build, drop: Any, at_ms: float, given_up: bool, again_ms: Any) -> None:
    state, _, _ = parts(crowd(VEHICLES, 100, 300))
    state.now = round(at_ms * MS)
    assert feasibility.shed(state, state.now, drop) == (Reply(1, "late", (1,)) if given_up else None)
    if not given_up:
        assert feasibility.shed_ns(state, drop) == (NEVER if again_ms is None else again_ms * MS + 1)


def test_the_only_task_gets_its_whole_time_and_no_wake_for_every_nanosecond(crowd: Build) -> None:
    """The estimate may be wrong, and would never be corrected if nothing were ever run."""
    state, _, _ = parts(crowd(VEHICLES, 4))
    assert feasibility.shed(state, 0, "hopeless") is None
    assert feasibility.shed_ns(state, "hopeless") == 4 * MS + 1
    assert feasibility.shed(state, 4 * MS + 1, "hopeless") == Reply(1, "late", (1,))


@pytest.mark.parametrize(
    ("at", "woken"), [(9, False), (10, False), (11, True), (49, True), (50, False), (NEVER, False)]
)
def test_a_wake_is_in_the_future_and_of_use(at: int, woken: bool) -> None:
    state = State(Table(), now=10, wake_ns=50)
    assert feasibility.wake(state, at) == (WakeAt(at) if woken else None)


def test_a_run_goes_on_through_short_stages(crowd: Build) -> None:
    state, lane, queue = parts(crowd(CHAIN, 100, 100))
    tasks = (queue[0][2], queue[1][2])
    assert feasibility.run(state, lane, tasks) == Run(0, "cpu0", CHAIN.variant.stages[:1], tasks)
    assert feasibility.run(state, lane, tasks, 5 * MS) == Run(0, "cpu0", CHAIN.variant.stages, tasks)


durations = st.lists(st.integers(1, 50), min_size=len(BATCHES), max_size=len(BATCHES))


@given(durations, st.integers(0, 60), st.integers(1, 12))
def test_what_it_calls_feasible_is(takes: list[int], slack: int, most: int) -> None:
    """Also where a profile does not grow with the batch; where it does, nothing larger would have fitted."""
    profiled = Stage("onnx", "m", batches=BATCHES, durations_ns=dict(zip(BATCHES, takes, strict=True)))
    state = State(Table(), stages={profiled.digest: profiled})
    lane = Lane("a", "cpu", Residency(0))
    size = feasibility.largest_within(state, profiled.digest, lane, most, slack)
    fitting = [batch for batch in BATCHES if batch <= most and profiled.durations_ns[batch] <= slack]
    assert size == 0 or size in fitting
    if sorted(takes) == takes:
        assert size == max(fitting, default=0)


@given(st.integers(0, 40))
def test_there_is_always_a_size(most: int) -> None:
    profiled = Stage("onnx", "m", batches=BATCHES)
    state = State(Table(), stages={profiled.digest: profiled}, requests={1: OpenRequest(None)})  # type: ignore[arg-type]
    assert feasibility.largest(state, profiled.digest, most) == max([b for b in BATCHES if b <= most], default=1)
