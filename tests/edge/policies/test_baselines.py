"""The plain baselines: whose turn it is, how much goes, and who is given up."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import Run
from edge.core.residency import Residency
from edge.core.state import Lane, State
from edge.estimators.table import Table
from edge.policies.blocks.round_robin_order import Ring
from edge.policies.fifo import Fifo
from edge.policies.longest_queue import LongestQueue
from edge.policies.round_robin import RoundRobin
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import served, stage

MODELS = [served(name, stage(name, 5)) for name in ("a", "b", "c")]  # batches of 1, 2, 4, 8 take 5, 7, 11, 19 ms
CIRCLE = sorted("abc", key=lambda name: next(it.variant.stages[0] for it in MODELS if it.variant.model == name))

Build = Callable[..., Any]


def models(run: Run) -> str:
    return "".join(task.model for task in run.tasks)


def served_in_order(box: Any) -> list[str]:
    """What runs, one batch after the other, until nothing waits."""
    said = []
    while run := box.running():
        said.append(models(run))
        box.finish(at_ms=box.now_ms + 1)
    return said


def test_round_robin_goes_round(core: Build) -> None:
    """However many wait for one model: each gets a turn, and a turn is a batch."""
    first, second, third = CIRCLE
    box = core(*MODELS, policy=complete(RoundRobin()))
    for name in (first, second, second, second, second, second, third, first):
        box.ask(name)
    assert served_in_order(box) == [first, second * 4, third, first, second]


def test_round_robin_begins_again_behind_the_last_and_skips_who_has_nothing(core: Build) -> None:
    first, _, third = CIRCLE
    box = core(*MODELS, policy=complete(RoundRobin(batch_max=1)))
    for name in (third, third, first, third, first):
        box.ask(name)
    assert served_in_order(box) == [third, first, third, first, third]


def test_a_turn_is_a_turn_though_it_is_asked_for_twice(core: Build) -> None:
    box = core(*MODELS, policy=complete(RoundRobin()))
    box.ask("a")
    ring, state = Ring(), box.state
    for _ in range(2):
        ring.follow(state)
        assert (ring.last, ring.work_id) == (MODELS[0].variant.stages[0], 1)
    turns = ring.turns(state.stages)
    assert (len(turns), turns[-1]) == (3, ring.last)
    assert ring.turns([ring.last]) == [ring.last]


def test_the_longest_queue_goes_first_and_among_equals_the_oldest(core: Build) -> None:
    box = core(*MODELS, policy=complete(LongestQueue()))
    for at, name in enumerate("abccbcb"):
        box.ask(name, at_ms=at)
    assert served_in_order(box) == ["a", "bb", "cc", "c", "b"]


POLICIES = [RoundRobin, LongestQueue, Fifo]


@pytest.mark.parametrize("policy", POLICIES)
def test_never_means_that_what_is_late_is_run_and_answered_late(core: Build, policy: Any) -> None:
    box = core(*MODELS, policy=complete(policy(drop="never")))
    box.ask("a")
    late = box.ask("a", slo_ms=10)
    box.finish(at_ms=50)
    assert [task.request for task in box.running().tasks] == [late]
    box.finish(at_ms=60)
    assert box.outcome(late) == "ok"
    assert box.clean()


@pytest.mark.parametrize("policy", POLICIES)
def test_expired_work_is_dropped_at_its_time_and_no_sooner(core: Build, policy: Any) -> None:
    box = core(*MODELS, policy=complete(policy(drop="expired")))
    box.ask("a")
    tight = box.ask("a", slo_ms=6)
    box.finish(at_ms=5)
    assert [task.request for task in box.running().tasks] == [tight], "hopeless, but not over"
    over = box.ask("b", slo_ms=6)
    box.finish(at_ms=12)
    assert box.outcome(over) == "late"
    assert box.clean()


def test_who_has_expired_behind_a_head_that_has_not_is_dropped_too(core: Build) -> None:
    box = core(*MODELS, policy=complete(Fifo(drop="expired")))
    for slo_ms in (100, 100, 10, 100):
        box.ask("a", slo_ms=slo_ms)
    box.finish(at_ms=20)
    assert box.outcome(3) == "late"
    assert [task.id for task in box.running().tasks] == [2, 4]


@pytest.mark.parametrize("policy", POLICIES)
def test_hopeless_work_is_dropped_before_its_time(core: Build, policy: Any) -> None:
    box = core(*MODELS, policy=complete(policy(drop="hopeless")))
    box.ask("a")
    box.ask("a", slo_ms=100)
    hopeless = box.ask("b", slo_ms=8)
    box.finish(at_ms=5)
    assert box.outcome(hopeless) == "late"


@pytest.mark.parametrize("policy", POLICIES)
def test_two_lanes_are_both_used(core: Build, policy: Any) -> None:
    box = core(*MODELS, policy=complete(policy()), lanes={"x": 10**6, "y": 10**6})
    for name in "aabb":
        box.ask(name)
    assert box.running("x").work_id != box.running("y").work_id
    box.finish(at_ms=5, lane="x")
    assert box.running("x") is not None


def test_work_without_a_deadline_is_no_turn() -> None:
    lane = Lane("x", "cpu", Residency(0), running=Run(3, "x", ("s",), (), background=True))
    ring = Ring("r", 2)
    ring.follow(State(Table(), lanes={"x": lane}))
    assert ring == Ring("r", 2)
