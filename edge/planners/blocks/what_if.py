"""Simulates what a placement would have been worth to recent requests, with the same core in virtual time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from edge.core.events import LaneUp, Plan, Request, Served, Time
from edge.core.interfaces import Policy
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import LOAD_NS, SimulatedWorld
from edge.core.state import Estimator, State
from edge.policies.wrappers.default_stack import complete
from porting.variant import Stage

Placement = Mapping[str, tuple[str, ...]]  # lane -> models, by name


@dataclass(frozen=True, slots=True)
class TaskArrival:
    """Describes one task that was asked for; it is due `slo_ns` after it arrived."""

    model: str
    came_ns: Time
    slo_ns: Time


@dataclass(frozen=True, slots=True)
class PlacementResult:
    """Holds the outcome of one simulation.

    `good`: number of tasks in time.
    `missed`: model -> tasks that were not, of all that were asked for.
    `busy_ns`: lane -> time in which it was busy.
    """

    good: int
    missed: Mapping[str, int]
    busy_ns: Mapping[str, Time]


def simulate(state: State, asked: Sequence[TaskArrival], placement: Placement, policy: Policy) -> PlacementResult:
    """Simulates the requests of the placed models; those of the others are missed. Does not change `state`."""
    placed = {model for models in placement.values() for model in models}
    served = [serving(state, model) for model in sorted(placed)]
    lanes = [LaneUp(lane.name, lane.kind, lane.residency.limit_bytes, lane.traits) for lane in state.lanes.values()]
    requests = played([each for each in asked if each.model in placed], loaded_ns(served, len(lanes)))
    known = AsKnown(state.estimator)
    world = SimulatedWorld(0, requests, lanes, served, noise=0.0, profile=known)
    simulated = State(known, plan=Plan(placement=placement))
    run(Scheduler(simulated, complete(deepcopy(policy)), {}), world)
    good = Counter(in_time(world, requests))
    missed = {model: number - good[model] for model, number in Counter(each.model for each in asked).items()}
    return PlacementResult(good.total(), missed, known.busy_ns)


def serving(state: State, model: str) -> Served:
    """Returns the event that makes this model's serving variant serve in the simulation."""
    variant = state.models[model].serving
    assert variant is not None
    return Served(variant, tuple(state.stages[digest] for digest in variant.stages))


def loaded_ns(served: Sequence[Served], lanes: int) -> Time:
    """Returns a time by which everything is loaded on all lanes."""
    return lanes * sum(LOAD_NS + stage.memory_bytes for each in served for stage in each.stages)


def played(asked: Sequence[TaskArrival], begin_ns: Time) -> list[Request]:
    """Returns the tasks as requests at the same distances in time, the first one at `begin_ns`."""
    requests = []
    for number, each in enumerate(asked, 1):
        came_ns = begin_ns + each.came_ns - asked[0].came_ns
        requests.append(Request(number, each.model, "", came_ns, came_ns + each.slo_ns))
    return requests


def in_time(world: SimulatedWorld, requests: Sequence[Request]) -> list[str]:
    """Returns the model of each request that was answered in time."""
    by_id = {request.id: request for request in requests}
    answered = [(time_ns, by_id[reply.request_id]) for time_ns, reply in world.replies if reply.outcome == "ok"]
    return [each.app for time_ns, each in answered if each.deadline_ns is not None and time_ns <= each.deadline_ns]


@dataclass(slots=True)
class AsKnown:
    """Answers with the durations of another estimator and learns nothing; it only adds up the time of each lane."""

    estimator: Estimator
    busy_ns: dict[str, Time] = field(default_factory=dict)  # by lane

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return self.estimator.duration_ns(stage, batch, lane)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        self.busy_ns[lane] = self.busy_ns.get(lane, 0) + took_ns
