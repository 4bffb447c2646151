"""Can the box cope? The cameras of an `edge.yaml` before its devices in virtual time: more and more of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import fmean

from edge.arrivals.box import Cameras, from_config
from edge.chance import chance
from edge.config import Config, load
from edge.estimators.table import Table
from edge.events import LaneUp, Request, Task, Time
from edge.recorder import Recorder
from edge.rehearsal import Rehearsed
from edge.scenario import Scenario, play
from edge.scores import score
from edge.state import Estimator
from edge.systems import System
from edge.virtual import Virtual
from porting.variant import Stage

HOLDS = 0.99  # share of the worst camera's frames in time from which SLOs are said to hold


@dataclass(frozen=True)
class Question:
    """`path`: an edge.yaml. `rehearsed`: what its box, or another one, took; None: the repository's profiles of
    `device`. The rest changes the box or the work, to see what would help.
    """

    path: Path
    rehearsed: Rehearsed | None = None
    device: str = "this"
    fps: float = 5.0
    finds: float | Mapping[str, float] = 1.0
    duration_s: float = 20.0
    seeds: int = 2
    system: System | None = None  # None: as the config says
    faster: float = 1.0  # every run takes this part of its time
    slo: float = 1.0  # every SLO times this
    lanes: int = 1  # so many of each lane


@dataclass(frozen=True)
class Coping:
    """What so many cameras get. Shares are 0..1; latencies of what was answered."""

    cameras: int
    load: float  # of the lanes' time, if every frame were served in batches of the best size that its SLO allows
    attainment: float
    worst: str  # the camera with the lowest share in time
    worst_attainment: float
    p50_ms: float | None
    p99_ms: float | None
    utilisation: float
    first_miss_s: float | None  # when the first frame missed its SLO
    first_miss: str | None  # which camera's

    def holds(self, share: float) -> bool:
        return self.worst_attainment >= share


@dataclass(frozen=True)
class Change:
    """Something that could be done, and how many cameras the box would then hold."""

    words: str
    cameras: int


# ---- one number of cameras -----------------------------------------------------------------------------------------


def cope(question: Question, cameras: int) -> Coping:
    """Means over seeds; the worst camera and the first miss are of all of them. Raises `UserError`."""
    system = question.system or system_of(load(question.path))
    scenarios = [scenario_of(question, cameras, seed) for seed in range(question.seeds)]
    recorders = [Recorder() for _ in scenarios]
    worlds = [
        play(it, system.make_policy(), system.make_estimator(), (recorder, *system.make_planners()))
        for it, recorder in zip(scenarios, recorders, strict=True)
    ]
    scores = [score(*run) for run in zip(scenarios, worlds, recorders, strict=True)]
    missed = [miss for world in worlds for miss in misses(world)]
    first = min(missed, key=lambda miss: miss.arrived_ns, default=None)
    worst, share = worst_stream(worlds, missed)
    return Coping(
        cameras,
        fmean(float(it.facts["load"]) for it in scenarios),
        fmean(each.attainment for each in scores),
        worst,
        share,
        mean_of([each.p50_ms for each in scores]),
        mean_of([each.p99_ms for each in scores]),
        fmean(each.utilisation for each in scores),
        None if first is None else first.arrived_ns / 1e9,
        None if first is None else first.stream,
    )


def system_of(config: Config) -> System:
    """Policy, estimator and planners of the config, as a system."""
    planners, answer = config.planners, config.answer
    return System(name="config", policy=config.policy, estimator=config.estimator, planners=planners, answer=answer)


def scenario_of(question: Question, cameras: int, seed: int) -> Scenario:
    """The box as the question has it. Raises `UserError`."""
    before = Cameras(cameras, question.fps, finds=question.finds)
    made = from_config(question.path, before, seed, question.duration_s, question.device)
    profile: Estimator = made.profile or Table()
    lanes = made.lanes
    if (rehearsed := question.rehearsed) is not None:
        profile, lanes = rehearsed.profile(), rehearsed.lanes
        if rehearsed.finds:
            made = replace(made, finds=Drawn(rehearsed.finds, seed))
    twins = [LaneUp(f"{lane.lane}.{n}", lane.kind, lane.memory_bytes) for lane in lanes for n in range(question.lanes)]
    requests = tuple(relaxed(request, question.slo) for request in made.requests)
    changed = Changed(profile, question.faster)
    return replace(made, lanes=tuple(twins), requests=requests, profile=changed, slowdown=0.0)


def relaxed(request: Request, factor: float) -> Request:
    assert request.deadline_ns is not None
    slo_ns = request.deadline_ns - request.arrived_ns
    return replace(request, deadline_ns=request.arrived_ns + round(slo_ns * factor))


@dataclass(frozen=True)
class Drawn:
    """What a frame finds: what some frame of the rehearsal found, all kinds together as they were; by a hash."""

    found: Mapping[str, Sequence[Mapping[str, int]]]
    seed: int = 0

    def __call__(self, task: Task) -> Mapping[str, int]:
        frames = self.found.get(task.model)
        if not frames or task.parent is not None:
            return {}
        return frames[int(chance(self.seed, "frame", task.requests[0], task.model) * len(frames))]


@dataclass
class Changed:
    """A profile whose lanes have twins ("cpu0.1" is like "cpu0"), all of them faster by a factor."""

    inner: Estimator
    factor: float = 1.0
    table: Table = field(default_factory=Table)

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return max(1, round(self.factor * self.inner.duration_ns(stage, batch, lane.rpartition(".")[0])))

    def draw_ns(self, stage: Stage, batch: int, lane: str, random: Random) -> int:
        draw_ns = getattr(self.inner, "draw_ns", None)
        if draw_ns is None:
            return self.duration_ns(stage, batch, lane)
        drawn_ns: int = draw_ns(stage, batch, lane.rpartition(".")[0], random)
        return max(1, round(self.factor * drawn_ns))

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """What was measured stays as it is."""


# ---- who missed ----------------------------------------------------------------------------------------------------


def misses(world: Virtual) -> Iterator[Request]:
    good = {reply.request_id: at for at, reply in world.replies if reply.outcome == "ok"}
    for request in world.requests:
        if request.deadline_ns is not None and late(good.get(request.id), request.deadline_ns):
            yield request


def late(answered_ns: Time | None, deadline_ns: Time) -> bool:
    return answered_ns is None or answered_ns > deadline_ns


def worst_stream(worlds: Sequence[Virtual], missed: Sequence[Request]) -> tuple[str, float]:
    """The camera that fared worst, and its share in time."""
    asked = Counter(request.stream for world in worlds for request in world.requests if request.deadline_ns is not None)
    lost = Counter(request.stream for request in missed)
    shares = {stream: 1 - lost[stream] / count for stream, count in asked.items()}
    worst = min(shares, key=lambda stream: (shares[stream], stream))
    return worst, shares[worst]


def mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


# ---- how many ------------------------------------------------------------------------------------------------------


def most(
    question: Question, least: int, greatest: int, holds: float = HOLDS, tell: Callable[[Coping], None] = lambda _: None
) -> tuple[int, list[Coping]]:
    """The largest number of cameras, `least` to `greatest`, that holds its SLOs, and all that were tried, ascending.

    `least - 1`: not even the least does. By halving: what fewer cameras hold is taken to be held.
    """
    tried: dict[int, Coping] = {}

    def held(cameras: int) -> bool:
        tried[cameras] = cope(question, cameras)
        tell(tried[cameras])
        return tried[cameras].holds(holds)

    low, high = least - 1, greatest + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if held(middle) else (low, middle)
    if low >= least and low not in tried:
        held(low)
    return low, [tried[cameras] for cameras in sorted(tried)]


def changes(
    question: Question, best: int, greatest: int, others: Sequence[System], holds: float = HOLDS
) -> Iterator[Change]:
    """What each of some changes would bring, one at a time."""
    asked = [
        ("frames at 0.8 of the rate", replace(question, fps=0.8 * question.fps)),
        ("every SLO half as long again", replace(question, slo=1.5)),
        ("models a quarter faster", replace(question, faster=0.75)),
        ("a second lane like each one", replace(question, lanes=2)),
        *((f"system: {other.name}", replace(question, system=other)) for other in others),
    ]
    for words, changed in asked:
        yield Change(words, most(changed, 1, max(2 * best, greatest, 2), holds)[0])
