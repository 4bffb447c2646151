"""Simulates cameras at a junction without pictures: models as stages with durations, arrivals by seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from random import Random

from edge.answers.cascade import Cascade
from edge.answers.single import Single
from edge.core.events import LaneUp, Reply, Request, Served, Time
from edge.core.interfaces import AnswerRule, Observer, Policy
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import Faults, SimulatedWorld
from edge.core.state import Estimator, State
from edge.estimators.rolling import Rolling
from edge.estimators.table import Table
from edge.observers.trace import Digest
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from porting.variant import STEP, Stage, Variant

MS = 1_000_000
BATCHES = (1, 2, 4, 8)

ANSWERS: Mapping[str, AnswerRule] = {
    "junction": Cascade("detector", {"vehicle": "vehicles", "person": "persons"}, items_max=6),
    "teacher": Single("teacher"),
}
DETECTIONS = {"detector": {"vehicle": 4, "person": 3}}
ALL_FAULTS = Faults(
    failed=0.03, stopped=0.02, slow=0.02, lane_down=0.02, late=0.5, load_failed=0.1, evicted=0.02, withdrawn=0.1,
    served=0.1,
)  # fmt: skip


def stage(
    graph: str, ms: float, bytes_: int = 1000, head: str | None = None, batches: Sequence[int] = BATCHES
) -> Stage:
    """Returns a stage that takes `ms` alone and 40 % more for every further task of its batch."""
    durations_ns = {batch: round(ms * MS * (0.6 + 0.4 * batch)) for batch in BATCHES}
    blobs = {graph: bytes_} | ({head: bytes_ // 10} if head else {})
    return Stage("onnx", graph, head, None, BATCHES, blobs, durations_ns)


def served(model: str, *stages: Stage, name: str = "fp32") -> Served:
    """Returns a model whose variant is the chain of these stages."""
    return Served(Variant(model, name, tuple(stage.digest for stage in stages)), stages)


def models() -> list[Served]:
    """Returns a detector, two classifiers of backbone and head, a teacher, and a training job made of steps."""
    return [
        served("detector", stage("detector", 4)),
        served("vehicles", stage("vehicles", 1.5), stage("vehicles-head", 0.2, 50, head="vehicles-0")),
        served("persons", stage("persons", 1.5), stage("persons-head", 0.2, 50, head="persons-0")),
        served("teacher", stage("teacher", 6, 2000)),
        served("train/vehicles", Stage(STEP, "train/vehicles", durations_ns={1: 8 * MS})),
    ]


def promotions() -> list[Served]:
    """Returns retrained heads, and finally a new backbone."""
    backbone = stage("vehicles", 1.5)
    heads = [stage("vehicles-head", 0.2, 50, head=f"vehicles-{number}") for number in (1, 2, 3)]
    renewed = served("vehicles", stage("vehicles-new", 1.4), heads[2], name="renewed")
    return [*(served("vehicles", backbone, head, name=f"head{i}") for i, head in enumerate(heads)), renewed]


def cameras(
    seed: int, requests: int, streams: int = 4, fps: float = 10.0, slo_ms: float = 100.0, background: float = 0.1
) -> Iterator[Request]:
    """Yields frames of all cameras in order of time, each camera with its own phase and 10 % jitter.

    After a frame, with probability `background`, a request without a deadline follows for the teacher or for training.
    """
    random = Random(seed)
    period_ns = round(1e9 / fps)
    phases = [random.randrange(period_ns) for _ in range(streams)]

    def camera(stream: int) -> Iterator[tuple[Time, int]]:
        for frame in range(requests // streams):
            yield phases[stream] + round(period_ns * (frame + 0.1 * random.random())), stream

    number = 0
    for at_ns, stream in merge(*map(camera, range(streams))):
        number += 1
        yield Request(number, "junction", f"camera-{stream}", at_ns, at_ns + round(slo_ms * MS))
        if random.random() < background:
            number += 1
            app = random.choice(("teacher", "train/vehicles"))
            yield Request(number, app, "background", at_ns, None, priority=int(app == "teacher"))


@dataclass(frozen=True)
class Simulation:
    """Holds the outcome of a simulation."""

    requests: list[Request]
    replies: list[Reply]
    state: State
    events: int
    digest: str  # SHA-256 of the trace


def simulate(
    seed: int,
    requests: int = 60,
    faults: Faults | None = None,
    policy: Policy | None = None,
    estimator: Estimator | None = None,
    memory_bytes: int = 20_000,
    lanes: int = 1,
    fps: float = 10.0,
    observers: Sequence[Observer] = (),
) -> Simulation:
    """Simulates the junction in virtual time under `complete(EarliestDeadlineFirst())`, or another complete policy."""
    ups = [LaneUp(f"sim{number}", "simulated", memory_bytes) for number in range(lanes)]
    world = SimulatedWorld(
        seed, cameras(seed, requests, fps=fps), ups, models(), DETECTIONS, faults, promotions(), profile=Table()
    )
    state = State(Rolling() if estimator is None else estimator)
    scheduler = Scheduler(state, policy or complete(EarliestDeadlineFirst()), ANSWERS)
    digest = Digest()
    run(scheduler, world, (digest, *observers))
    return Simulation(world.requests, [reply for _, reply in world.replies], state, world.events, digest.hexdigest())
