"""SHEPHERD's FLEX: the largest batch, the threshold at which it stops a smaller one, and what becomes of that."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import LaneDown, LaneUp, Request, Stop, Stopped
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.flex import Flex
from edge.policies.largest_feasible import LargestFeasible
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import MS

Build = Callable[..., Any]

A, B = (affine(name, 1, 4) for name in "ab")  # a batch of n takes n + 4 ms
LONG = affine("long", 1, 20)


def box_of(core: Build, *events: Any, lanes: dict[str, int] | None = None, policy: Any = None) -> Any:
    return core(*events, policy=complete(policy or Flex()), lanes=lanes)


def ran(box: Any, lane: str = "cpu0") -> list[int]:
    return [task.request for task in box.running(lane).tasks]


def stops(actions: list[Any]) -> int:
    return sum(isinstance(action, Stop) for action in actions)


def test_the_largest_batch_goes_first_not_the_most_urgent(core: Build) -> None:
    box = box_of(core, A, B, LONG, policy=LargestFeasible())
    box.ask("long", slo_ms=1000)
    box.ask("b", slo_ms=40)
    many = [box.ask("a", slo_ms=200) for _ in range(3)]
    box.finish(at_ms=21)
    assert ran(box) == many


def test_the_largest_is_counted_by_what_still_makes_it(core: Build) -> None:
    """Of the nine only two make it with their head, so three of the other model are more."""
    box = box_of(core, A, B, LONG, policy=LargestFeasible())
    box.ask("long", slo_ms=1000)
    _, *_ = [box.ask("a", slo_ms=slo_ms) for slo_ms in (27, *[200] * 8)]
    others = [box.ask("b", slo_ms=200) for _ in range(3)]
    box.finish(at_ms=21)
    assert ran(box) == others


def test_of_equal_batches_the_one_that_has_to_begin_first(core: Build) -> None:
    box = box_of(core, A, B, LONG, policy=LargestFeasible())
    box.ask("long", slo_ms=1000)
    box.ask("a", slo_ms=200)
    urgent = box.ask("b", slo_ms=100)
    box.finish(at_ms=21)
    assert ran(box) == [urgent]


# 3.03 * 3 = 9.09: nine are too few, ten are enough.
@pytest.mark.parametrize(("running", "waiting", "stopped"), [(3, 9, 0), (3, 10, 1), (1, 3, 0), (1, 4, 1)])
def test_the_threshold(core: Build, running: int, waiting: int, stopped: int) -> None:
    box = box_of(core, A, B, LONG)
    box.ask("long", slo_ms=1000)
    first = [box.ask("a", slo_ms=500) for _ in range(running)]
    box.finish(at_ms=21)
    assert ran(box) == first
    box.now_ms = 22
    for _ in range(waiting - 1):
        box.ask("b", slo_ms=400)
    assert box.state.lanes["cpu0"].stopping == 0
    box.ask("b", slo_ms=400)
    assert box.state.lanes["cpu0"].stopping == stopped * box.running().work_id


def test_without_preemption_nothing_is_stopped(core: Build) -> None:
    box = box_of(core, A, B, policy=LargestFeasible())
    box.ask("a", slo_ms=500)
    box.now_ms = 1
    for _ in range(32):
        box.ask("b", slo_ms=500)
    assert box.state.lanes["cpu0"].stopping == 0


def stopped_box(core: Build) -> tuple[Any, int, list[int]]:
    """One of a ran, four of b have stopped it."""
    box = box_of(core, A, B)
    first = box.ask("a", slo_ms=500)
    box.now_ms = 1
    many = [box.ask("b", slo_ms=400) for _ in range(4)]
    return box, first, many


def test_what_was_stopped_waits_and_is_run_later(core: Build) -> None:
    box, first, many = stopped_box(core)
    box.do(Stopped(box.running().work_id))
    assert ran(box) == many
    box.finish(at_ms=9)
    assert ran(box) == [first]
    box.finish(at_ms=14)
    assert box.outcome(first) == "ok"
    assert box.clean()


def test_a_lane_that_finishes_all_the_same_is_fine(core: Build) -> None:
    box, first, many = stopped_box(core)
    box.finish(at_ms=5)
    assert box.outcome(first) == "ok"
    assert ran(box) == many


def test_it_is_told_once(core: Build) -> None:
    box, _, _ = stopped_box(core)
    box.now_ms = 2
    assert stops(box.do(Stopped(99))) == 0


def test_what_was_stopped_for_others_of_its_model_does_not_come_back_in_front_of_them(core: Build) -> None:
    """The head can wait for a batch of two only; the eight behind it are more. With it they would be two again."""
    box = box_of(core, A, LONG)
    box.ask("long", slo_ms=1000)
    tight = [box.ask("a", slo_ms=27.5) for _ in range(2)]
    rest = [box.ask("a", slo_ms=100) for _ in range(8)]
    box.finish(at_ms=21)
    assert ran(box) == tight
    box.now_ms = 21.2
    rest.append(box.ask("a", slo_ms=100))
    box.do(Stopped(box.running().work_id))
    assert ran(box) == rest
    box.finish(at_ms=34.2)
    assert [box.outcome(request) for request in tight] == ["late"] * 2  # "later batches must make it anew"


def test_a_stage_that_another_lane_is_about_to_have_time_for_stops_one_lane_only(core: Build) -> None:
    box = box_of(core, A, B, lanes={"cpu0": 10**6, "cpu1": 10**6})
    for _ in range(2):
        box.ask("a", slo_ms=500)
    box.now_ms = 1
    for _ in range(4):
        box.ask("b", slo_ms=400)
    lanes = [box.state.lanes[name] for name in ("cpu0", "cpu1")]
    assert sum(lane.stopping > 0 for lane in lanes) == 1


def test_every_request_is_answered_and_time_goes_on() -> None:
    """A burst every 60 ms, with deadlines from 8 to 60 ms: heads that hold a batch back, again and again."""
    requests = [
        Request(number, "ab"[number % 2], "c", at := (number // 40) * 60 * MS + (number % 40) ** 2 * 9_000, at + slo)
        for number in range(1, 1601)
        for slo in [(8 + 13 * number % 52) * MS]
    ]
    requests.sort(key=lambda request: request.arrived_ns)
    world = SimulatedWorld(3, requests, [LaneUp("sim0", "simulated", 1 << 40)], [A, B], profile=Table())
    run(Scheduler(State(Table(margin=1.1)), complete(Flex()), {}), world)
    outcomes = Counter(reply.outcome for _, reply in world.replies)
    assert sum(outcomes.values()) == len({reply.request_id for _, reply in world.replies}) == 1600
    assert world.over, "nothing was stopped"
    assert world.events < 20_000


def test_what_was_stopped_on_a_lane_that_was_lost_is_forgotten(core: Build) -> None:
    policy = Flex()
    box = box_of(core, A, B, LONG, policy=policy)
    box.ask("long", slo_ms=1000)
    box.ask("a", slo_ms=500)
    box.finish(at_ms=21)
    box.now_ms = 22
    for _ in range(4):
        box.ask("b", slo_ms=400)
    assert policy._stopped["cpu0"]
    box.do(LaneDown("cpu0", "gone"))
    box.do(LaneUp("cpu0", "cpu", 10**6))
    assert policy._stopped == {}
