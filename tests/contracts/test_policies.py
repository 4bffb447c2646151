"""What every policy keeps: it only reads, it settles, it says the same twice, and nobody is forgotten."""

import copy
import inspect
from collections import Counter
from dataclasses import is_dataclass
from typing import Any

import pytest

from edge.core.events import Arrived, Finished, LaneUp, Load, Loaded, Request, Run, StepResult, Task, Woke
from edge.core.interfaces import Policy
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import ALL_FAULTS, ANSWERS, MS, models, simulate


def made(kind: type) -> Policy:
    """With its own defaults; a wrapper around the policy that is meant to be wrapped."""
    wraps = "inner" in inspect.signature(kind).parameters
    policy: Policy = kind(EarliestDeadlineFirst()) if wraps else kind()
    return policy


def wired(kind: type) -> Policy:
    """As a part of a whole system: a wrapper stands inside what it does not do itself."""
    return complete(made(kind))


class Box:
    """Loads at once; a work ends when it is told to."""

    def __init__(self, policy: Policy) -> None:
        self.scheduler = Scheduler(State(Table()), policy, ANSWERS)
        self.now = 0

    def do(self, event: Any) -> None:
        self.now += MS
        for action in self.scheduler.handle(event, self.now):
            if isinstance(action, Load):
                self.do(Loaded(action.lane, action.stage))


def crowded(policy: Policy) -> State:
    """All queues filled, one lane free: its work ended while the policy was looking away."""
    box = Box(policy)
    for event in (LaneUp("a", "cpu", 20_000), LaneUp("b", "cpu", 4_000), *models()):
        box.do(event)
    for number in range(1, 41):
        app = ("junction", "vehicles", "persons", "teacher", "train/vehicles")[number % 5]
        deadline_ns = None if number % 5 > 2 else box.now + (30 + number) * MS
        box.do(Arrived(Request(number, app, "camera", box.now, deadline_ns)))
    state = box.scheduler.state
    for lane in state.lanes.values():
        run, lane.running = lane.running, None
        if run is not None:
            del state.works[run.work_id]
    return state


def test_a_policy_only_reads(policy_class: type) -> None:
    state = crowded(complete(EarliestDeadlineFirst()))
    before = copy.deepcopy(state)
    assert made(policy_class).decide(state, state.now) is not None
    assert state == before


def test_a_policy_says_the_same_twice(policy_class: type) -> None:
    state = crowded(complete(EarliestDeadlineFirst()))
    policy = made(policy_class)
    first = policy.decide(state, state.now)
    assert policy.decide(state, state.now) == first
    assert made(policy_class).decide(state, state.now) == first


def test_a_policy_has_nothing_to_do_in_an_empty_box(policy_class: type) -> None:
    assert made(policy_class).decide(State(Table()), 0) is None


def test_the_place_of_a_task_does_not_depend_on_when_it_is_asked_for(policy_class: type) -> None:
    policy = made(policy_class)
    tasks = [Task(i, i, "m", ("s",), 0, i % 3, None if i % 4 == 0 else 9 - i, i % 2) for i in range(12)]
    once = [policy.order(task) for task in tasks]
    crowded_state = crowded(complete(EarliestDeadlineFirst()))
    policy.decide(crowded_state, crowded_state.now)
    assert [policy.order(task) for task in tasks] == once
    assert sorted(once) == sorted(once, reverse=True)[::-1]  # all of them can be compared


def test_nobody_is_forgotten(policy_class: type) -> None:
    for seed in range(6):
        simulation = simulate(seed, 40, ALL_FAULTS if seed % 2 else None, wired(policy_class), lanes=1 + seed % 2)
        answers = Counter(reply.request_id for reply in simulation.replies)
        assert answers == {request.id: 1 for request in simulation.requests}


def test_runs_are_what_the_scheduler_accepts_under_load(policy_class: type) -> None:
    simulation = simulate(3, 200, policy=wired(policy_class), fps=40, memory_bytes=4000)
    assert any(reply.outcome == "ok" for reply in simulation.replies)


def test_options_are_seen_in_its_name(policy_class: type) -> None:
    """Assertions show `repr(policy)`; a trace is replayed with the same options."""
    assert is_dataclass(policy_class)
    assert repr(made(policy_class)).startswith(policy_class.__name__)
    assert made(policy_class) == made(policy_class)


def test_a_free_lane_is_used(policy_class: type) -> None:
    """At once, or when the policy asked to be woken: some let a batch grow first. In time in either case."""
    box = Box(wired(policy_class))
    for event in (LaneUp("a", "cpu", 20_000), *models()):
        box.do(event)
    deadline_ns = box.now + 1000 * MS
    box.do(Arrived(Request(1, "vehicles", "camera", box.now, deadline_ns)))
    state = box.scheduler.state
    while state.requests and box.now < deadline_ns:
        run = state.lanes["a"].running
        if isinstance(run, Run):
            at_end = run.tasks[0].at + len(run.stages) == 2
            box.do(Finished(run.work_id, {1: StepResult(done=at_end)}))
        else:
            box.now = state.wake_ns - MS
            box.do(Woke())
    assert state.requests == {}
    assert box.now <= deadline_ns


@pytest.mark.parametrize("seed", [1, 2])
def test_same_seed_same_trace(policy_class: type, seed: int) -> None:
    once, again = (simulate(seed, 40, ALL_FAULTS, wired(policy_class)).digest for _ in range(2))
    assert once == again
