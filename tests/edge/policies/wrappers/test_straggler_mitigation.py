"""Stragglers: at its deadline an ensemble answers with what has come, and nobody else is touched."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from edge.answers.cascade import Cascade
from edge.answers.cocktail import Cocktail
from edge.answers.ensemble import Ensemble
from edge.answers.exp4 import Exp4
from edge.answers.single import Single
from edge.core.events import LaneUp, Reply, Request, Run, Task, Woke
from edge.core.interfaces import AnswerRule
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import Faults, SimulatedWorld
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.clockwork import Clockwork
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.policies.wrappers.cloud_burst import CloudBurst
from edge.policies.wrappers.default_stack import complete
from edge.policies.wrappers.model_loading import ModelLoading
from edge.policies.wrappers.straggler_mitigation import StragglerMitigation
from evaluation.synthetic import ALL_FAULTS, MS, models, promotions, served, stage

SMALL, LARGE = (served(name, stage(name, ms)) for name, ms in (("small", 2), ("large", 10)))
PANEL = {"panel": Ensemble(members=("small", "large")), "junction": Cascade("small", {"vehicle": "large"})}

Build = Callable[..., Any]


@pytest.fixture
def box(core: Build) -> Build:
    """Two lanes, so that both members run at once."""

    def build(ahead_ms: float = 1.0) -> Any:
        policy = complete(StragglerMitigation(EarliestDeadlineFirst(batch_max=1), ahead_ms=ahead_ms))
        return core(SMALL, LARGE, policy=policy, answers=PANEL, lanes={"cpu0": 10**6, "cpu1": 10**6})

    return build


def lane_of(box: Any, model: str) -> str:
    return next(name for name, lane in box.state.lanes.items() if lane.running and lane.running.tasks[0].model == model)


def test_what_has_come_is_the_answer_just_before_the_deadline(box: Build) -> None:
    made = box()
    request = made.ask("panel", slo_ms=20)
    made.finish(at_ms=2, lane=lane_of(made, "small"))
    assert made.outcome(request) is None
    assert made.woken_at_ms() == 19
    made.do(Woke(), at_ms=19)
    assert made.replies[request] == Reply(request, "ok", (1,), "partial")
    made.finish(at_ms=25, lane=lane_of(made, "large"))  # nobody waits for it any more
    assert made.clean()


def test_nobody_is_woken_for_what_is_answered(box: Build) -> None:
    made = box()
    request = made.ask("panel", slo_ms=20)
    made.finish(at_ms=2, lane=lane_of(made, "small"))
    made.finish(at_ms=10, lane=lane_of(made, "large"))
    assert made.replies[request] == Reply(request, "ok", (1, 2))
    made.do(Woke(), at_ms=19)
    assert made.clean()


def test_where_nothing_has_come_there_is_nothing_to_answer(box: Build) -> None:
    made = box()
    request = made.ask("panel", slo_ms=20)
    made.do(Woke(), at_ms=30)
    assert made.outcome(request) is None
    made.finish(at_ms=31, lane=lane_of(made, "large"))
    assert made.replies[request] == Reply(request, "ok", (2,), "partial")  # too late, but it is all there is
    made.finish(at_ms=32, lane=lane_of(made, "small"))
    assert made.clean()


def test_a_cascade_is_left_alone(box: Build) -> None:
    made = box()
    request = made.ask("junction", slo_ms=20)
    made.finish(at_ms=2, lane=lane_of(made, "small"), children={"vehicle": 1})
    made.do(Woke(), at_ms=19.5)
    assert made.outcome(request) is None
    made.finish(at_ms=20, lane=lane_of(made, "large"))
    assert made.outcome(request) == "ok"


def test_a_member_that_still_waits_is_given_up_at_the_deadline(core: Build) -> None:
    policy = complete(StragglerMitigation(Hesitant("large")))
    made = core(SMALL, LARGE, policy=policy, answers=PANEL)
    request = made.ask("panel", slo_ms=20)
    made.finish(at_ms=2)
    made.do(Woke(), at_ms=19)
    assert made.replies[request] == Reply(request, "ok", (1,), "partial")
    assert made.clean()


@dataclass
class Hesitant:
    """Never runs `model`, and never gives anybody up."""

    model: str

    def order(self, task: Any) -> tuple[int, ...]:
        return (task.model == self.model, task.id)

    def decide(self, state: State, now: int) -> Any:
        heads = [queue[0][2] for queue in state.queues.values() if queue[0][2].model != self.model]
        idle = [lane for lane in state.lanes.values() if lane.running is None]
        return Run(0, idle[0].name, heads[0].chain[:1], (heads[0],)) if heads and idle else None


def test_it_keeps_the_order_of_whom_it_wraps() -> None:
    task = Task(1, 1, "m", ("s",), 0, 5, 9, 3)
    for inner in (EarliestDeadlineFirst(), Fifo()):
        assert StragglerMitigation(inner).order(task) == inner.order(task)


# ---- whatever happens, every request is answered once ---------------------------------------------------------------

ANSWERS: dict[str, AnswerRule] = {
    "all": Ensemble(members=("vehicles", "persons", "detector")),
    "weighed": Exp4(members=("vehicles", "persons")),
    "junction": Cascade("detector", {"vehicle": "vehicles"}, items_max=4),
}


def arrivals(count: int) -> list[Request]:
    apps = ("all", "weighed", "cocktail", "junction", "teacher")
    return [
        Request(number, apps[number % 5], f"camera-{number % 3}", number * 3 * MS, (number * 3 + 12 + number % 40) * MS)
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_ensembles_lose_nobody_whatever_the_weather(seed: int) -> None:
    memory_bytes = (20_000, 6_000, 4_000, 2_500, 1_500)[seed % 5]
    faults: Faults = replace(ALL_FAULTS, failed=0.15)
    lanes = [LaneUp(f"sim{number}", "simulated", memory_bytes) for number in range(1 + seed % 2)]
    detections = {"detector": {"vehicle": 3}}
    world = SimulatedWorld(seed, arrivals(80), lanes, models(), detections, faults, promotions(), profile=Table())
    inner = Fifo() if seed % 3 == 0 else EarliestDeadlineFirst()
    answers = {**ANSWERS, "teacher": Single("teacher"), "cocktail": Cocktail(members=("vehicles", "persons/head1"))}
    scheduler = Scheduler(State(Table()), complete(StragglerMitigation(inner)), answers)
    run(scheduler, world)
    assert Counter(reply.request_id for _, reply in world.replies) == {request.id: 1 for request in world.requests}
    state = scheduler.state
    assert [state.requests, state.queues, state.background, state.works, state.flights] == [{}] * 5
    partial = [reply for _, reply in world.replies if reply.detail == "partial"]
    assert all(reply.outcome == "ok" and reply.tasks for reply in partial)
    if seed == 2:
        assert partial, "the faults were injected"


def test_who_loads_himself_does_so_behind_a_wrapper_too() -> None:
    for inner in (Clockwork(), StragglerMitigation(Clockwork()), CloudBurst(inner=StragglerMitigation(Clockwork()))):
        assert ModelLoading(inner)._inner_loads()
    assert not ModelLoading(StragglerMitigation(Fifo()))._inner_loads()
