"""Every policy serves requests of several tasks, some of which may be lost on the way; nobody is answered twice."""

from collections import Counter
from dataclasses import replace

import pytest

from edge.answers.ensemble import Ensemble
from edge.core.events import LaneUp, Request
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import Faults, SimulatedWorld
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.wrappers.default_stack import complete
from edge.policies.wrappers.straggler_mitigation import StragglerMitigation
from evaluation.presets import ensemble_of
from evaluation.synthetic import ALL_FAULTS, MS, models
from tests.contracts.test_policies import made

SERVED = [ensemble_of("photo"), *models()]
ANSWERS = {
    "photo": Ensemble("photo", ("photo/narrow", "photo/dense", "photo/wide")),
    "mixed": Ensemble(members=("vehicles", "persons")),
}
FAULTS = (None, replace(ALL_FAULTS, failed=0.15))


def arrivals(seed: int, every_ms: int) -> list[Request]:
    apps = ("photo", "mixed", "detector")
    return [
        Request(n, apps[(n + seed) % 3], "gate", n * every_ms * MS, (n * every_ms + 30 + n % 50) * MS)
        for n in range(1, 90)
    ]


@pytest.mark.parametrize("straggle", [False, True], ids=["plain", "straggle"])
@pytest.mark.parametrize("faults", FAULTS, ids=["calm", "faults"])
@pytest.mark.parametrize("every_ms", [2, 20], ids=["crowded", "easy"])
def test_members_come_and_go_and_each_request_is_answered_once(
    policy_class: type, straggle: bool, faults: Faults | None, every_ms: int
) -> None:
    inner = made(policy_class)
    policy = complete(StragglerMitigation(inner) if straggle else inner)
    lanes = [LaneUp(f"sim{lane}", "simulated", 1 << 20) for lane in range(2)]
    world = SimulatedWorld(3, arrivals(3, every_ms), lanes, SERVED, faults=faults, profile=Table())
    scheduler = Scheduler(State(Table()), policy, ANSWERS)
    run(scheduler, world)
    assert Counter(reply.request_id for _, reply in world.replies) == {request.id: 1 for request in world.requests}
    state = scheduler.state
    assert [state.requests, state.queues, state.works, state.flights] == [{}] * 4
    assert any(reply.outcome == "ok" for _, reply in world.replies)
    for _, reply in world.replies:
        assert reply.outcome != "ok" or reply.tasks
