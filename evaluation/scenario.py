"""Defines what every policy is given alike: a box, its models, and one fixed list of requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.core.events import LaneUp, Request, Served
from edge.core.interfaces import AnswerRule, Observer, Policy
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import Detections, SimulatedWorld
from edge.core.state import Estimator, State
from edge.estimators.table import Table
from porting.variant import Stage, Variant

MS = 1_000_000


@dataclass(frozen=True)
class Scenario:
    """Describes a box and its work.

    `slowdown`: standard deviation of the half-normal share by which a run takes longer than profiled; never less, so
    that bounds computed from the profile hold. `profile`: durations by lane, else the stages' own. `waiting_max`:
    stream -> frames that may wait, as in `edge.yaml`; a stream that is not named here keeps all of them.
    """

    name: str
    served: tuple[Served, ...]
    requests: tuple[Request, ...]  # in order of time, ids ascending
    answers: Mapping[str, AnswerRule] = field(default_factory=dict)
    lanes: tuple[LaneUp, ...] = (LaneUp("sim0", "simulated", 1 << 40),)
    detections: Detections = field(default_factory=dict)
    seed: int = 0
    slowdown: float = 0.02
    profile: Estimator | None = None
    waiting_max: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what is odd about it, or assumed
    facts: Mapping[str, Any] = field(default_factory=dict)  # how it was made: load, process, seed; for tables


def play(
    scenario: Scenario, policy: Policy, estimator: Estimator, observers: tuple[Observer, ...] = ()
) -> SimulatedWorld:
    """Plays the scenario in virtual time under a complete policy; the outcome is in the world's
    `replies` and in what the observers saw.
    """
    world = SimulatedWorld(
        scenario.seed, scenario.requests, scenario.lanes, scenario.served, scenario.detections,
        noise=0.0, slowdown=scenario.slowdown, profile=scenario.profile or Table(), waiting_max=scenario.waiting_max,
    )  # fmt: skip
    run(Scheduler(State(estimator), policy, scenario.answers), world, observers)
    return world


def affine(model: str, ms_per_item: float, ms_per_batch: float, batch_max: int = 32) -> Served:
    """Returns a model of one stage that takes `ms_per_item * batch + ms_per_batch`, for every
    batch up to `batch_max`.
    """
    batches = tuple(range(1, batch_max + 1))
    durations_ns = {batch: round((ms_per_item * batch + ms_per_batch) * MS) for batch in batches}
    stage = Stage("onnx", model, batches=batches, blobs={model: 1000}, durations_ns=durations_ns)
    return Served(Variant(model, "fp32", (stage.digest,)), (stage,))
