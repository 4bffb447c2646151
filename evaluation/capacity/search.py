"""Simulates N cameras against the devices in an `edge.yaml` and reports whether every SLO holds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from random import Random
from statistics import fmean

from edge.answers.hashing import hash_uniform
from edge.config import Config, load
from edge.core.events import Event, Finished, Reply, Request, Run, Served, Task, Time
from edge.core.interfaces import Moment
from edge.core.state import Estimator
from edge.systems import System
from evaluation.arrivals.detections import items_of
from evaluation.arrivals.from_config import START_NS, Cameras, Measured, from_config
from evaluation.arrivals.load_scaling import load_of
from evaluation.arrivals.measured_durations import Profiled
from evaluation.arrivals.request import arrivals_of
from evaluation.capacity.dry_run import DryRun
from evaluation.scenario import Scenario, play
from evaluation.validity import check
from porting.errors import UserError
from porting.variant import STEP, Stage, Variant

HOLDS = 0.99  # share of the worst camera's frames in time at which SLOs are said to hold
SECOND_NS = 1_000_000_000
REPAIR, STEPS_MEAN = "repair", 5  # background work of the virtual world: a step is its last with a chance of 1/5


@dataclass(frozen=True)
class CapacityQuestion:
    """Describes the box and the work to simulate.

    `path`: an edge.yaml. `dry_run`: measured durations of its box or another one; None: the repository's profiles of
    `device`. The other fields change the box or the work, to see what would help.
    """

    path: Path
    dry_run: DryRun | None = None
    device: str = "this"
    fps: float = 5.0
    arrivals: str = "periodic0.1"
    detections: float | Mapping[str, float] = 1.0  # items of each kind in a frame, where there is no dry run
    duration_s: float = 20.0
    seeds: int = 2
    system: System | None = None  # None: as the config says
    faster: float = 1.0  # multiplies the duration of every run; below 1 is faster
    slo: float = 1.0  # every SLO times this
    more_waiting: int = 0  # frames of a camera that may wait beside those of the config
    lanes: int = 1  # number of lanes like each one

    @cached_property
    def config(self) -> Config:
        """Returns the loaded config."""
        return load(self.path)

    @cached_property
    def named(self) -> int:
        """Returns the number of cameras that the config names."""
        return sum(name != "*" and stream.enabled for name, stream in self.config.streams.items())

    @cached_property
    def others(self) -> bool:
        """Returns whether cameras may come that the config does not name."""
        every = self.config.streams.get("*")
        return every is not None and every.enabled


@dataclass(frozen=True)
class Coping:
    """Describes what the cameras get. Shares are 0..1; latencies are those of answered frames."""

    cameras: int
    load: float  # of the lanes' time, if every batch had the size that costs least for an item
    attainment: float
    worst: str  # the camera with the lowest share in time
    worst_attainment: float
    p50_ms: float | None
    p99_ms: float | None
    busy: float  # share of the lanes' time, work without deadlines left out
    first_miss_s: float | None  # when the first frame came that missed its SLO
    first_miss: str | None  # which camera's

    def holds(self, share: float) -> bool:
        """Returns whether the worst camera gets at least this share of its frames in time."""
        return self.worst_attainment >= share


# ---- the answer ----------------------------------------------------------------------------------------------------


def cope(question: CapacityQuestion, cameras: int) -> Coping:
    """Simulates the cameras and returns the result over all seeds together. Raises `UserError`."""
    found = attempt(question, cameras, None)
    assert found is not None
    return found


def attempt(question: CapacityQuestion, cameras: int, holds: float | None) -> Coping | None:
    """Returns what `cope` does, or None as soon as some camera is sure to get less than `holds`
    in time, which saves the rest.
    """
    system = question.system or system_of(question.config)
    lost, share = Counter[str](), None if holds is None else 1 - holds
    telling_ns = 0 if question.dry_run is None else question.dry_run.telling_ns
    fates = []
    for seed in range(question.seeds):
        scenario = scenario_of(question, cameras, seed)
        fates.append(fate := Fate(scenario, lost, share, question.seeds, telling_ns))
        answered = replace(scenario, answers=system.make_answers(scenario.answers))
        try:
            play(answered, system.make_policy(), system.make_estimator(), (fate, *system.make_planners()))
        except Enough:
            return None
    coping = summed(question, cameras, fates)
    return coping if holds is None or coping.holds(holds) else None


class Enough(Exception):
    """Signals that the outcome is certain before the end of a run."""


@dataclass
class Fate:
    """Observes what becomes of every frame of one run.

    Args:
        scenario: the run's scenario.
        lost: frames missed by camera, including those of earlier runs.
        share: of a camera's frames that may be missed in all `runs` together before the run stops; None: it never does.
        runs: number of runs.
        telling_ns: time from the end of the work to the delivery of its answer.
    """

    scenario: Scenario
    lost: Counter[str]
    share: float | None
    runs: int
    telling_ns: Time
    missed: list[Request] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    busy_ns: Time = 0
    _began: dict[int, Time] = field(default_factory=dict)  # work -> when

    def __post_init__(self) -> None:
        self.due = {each.id: each for each in self.scenario.requests if each.deadline_ns is not None}
        self.offered = Counter(each.stream for each in self.due.values())

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        """Notes missed frames, latencies and busy time. Raises `Enough` when a camera has missed too many frames."""
        for action in moment.actions:
            if type(action) is Reply and (request := self.due.get(action.request_id)) is not None:
                self._replied(request, action, moment.now + self.telling_ns)
            elif type(action) is Run and not action.background:
                self._began[action.work_id] = moment.now
        if type(moment.event) is Finished:
            self.busy_ns += moment.now - self._began.pop(moment.event.work_id, moment.now)
        return ()

    def _replied(self, request: Request, reply: Reply, now: Time) -> None:
        assert request.deadline_ns is not None
        if reply.outcome == "ok":
            self.latencies_ms.append((now - request.arrived_ns) / 1e6)
        if reply.outcome != "ok" or now > request.deadline_ns:
            self.missed.append(request)
            self.lost[request.stream] += 1
            # Another run may bring one frame more or less.
            most = (self.offered[request.stream] + 1) * self.runs
            if self.share is not None and self.lost[request.stream] > self.share * most:
                raise Enough


def summed(question: CapacityQuestion, cameras: int, fates: Sequence[Fate]) -> Coping:
    """Returns the result of all runs together."""
    offered = sum((fate.offered for fate in fates), Counter[str]())
    lost = fates[-1].lost
    shares = {camera: 1 - lost[camera] / count for camera, count in offered.items()}
    worst = min(shares, key=lambda camera: (shares[camera], camera))
    latencies_ms = [ms for fate in fates for ms in fate.latencies_ms]
    first = min((each for fate in fates for each in fate.missed), key=lambda each: each.arrived_ns, default=None)
    whole_ns = sum(len(fate.scenario.lanes) for fate in fates) * question.duration_s * SECOND_NS
    return Coping(
        cameras=cameras,
        load=fmean(float(fate.scenario.facts["load"]) for fate in fates),
        attainment=1 - lost.total() / offered.total(),
        worst=worst,
        worst_attainment=shares[worst],
        p50_ms=quantile(latencies_ms, 0.50),
        p99_ms=quantile(latencies_ms, 0.99),
        busy=min(1.0, sum(fate.busy_ns for fate in fates) / whole_ns),
        first_miss_s=None if first is None else (first.arrived_ns - START_NS) / SECOND_NS,
        first_miss=None if first is None else first.stream,
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """Returns a quantile by nearest rank, as the daemon's statistics do; None without values."""
    return sorted(values)[ceil(share * len(values)) - 1] if values else None


# ---- the box and what stands before it -----------------------------------------------------------------------------


def system_of(config: Config) -> System:
    """Returns policy, estimator, planners and answer of the config, as a system."""
    planners, answer = config.planners, config.answer
    return System(name="config", policy=config.policy, estimator=config.estimator, planners=planners, answer=answer)


def scenario_of(question: CapacityQuestion, cameras: int, seed: int) -> Scenario:
    """Returns the scenario of a question with `cameras` cameras, including those that the config
    names. Raises `UserError`.
    """
    dry_run = question.dry_run
    detections = question.detections if dry_run is None else dry_run.means()
    before = Cameras(cameras - question.named, question.fps, question.arrivals, detections)
    measured = None if dry_run is None else Measured(dry_run.lanes, dry_run.p99s_ns())
    made = from_config(question.path, before, seed, question.duration_s, question.device, measured=measured)
    assert isinstance(made.profile, Profiled)
    means_ns = made.profile.means_ns() if dry_run is None else dry_run.means_ns()
    load = load_in_the_mean(made, means_ns, question.duration_s) * question.faster / question.lanes
    made = replace(made, facts={**made.facts, "load": load})
    made = changed(question, made if dry_run is None else as_tried(made, dry_run))
    check(made)
    return with_repair(question, made)


def as_tried(made: Scenario, dry_run: DryRun) -> Scenario:
    """Returns the scenario with durations and detections of the dry run. Raises `UserError` where its models are others
    than those that serve.
    """
    tried = {graph for graph, _, _ in dry_run.durations_ns}
    if not any(stage.graph in tried for each in made.served for stage in each.stages):
        models = ", ".join(each.variant.model for each in made.served)
        raise UserError(
            f"what was tried were other models than {models} as they serve now; try these, and --save again"
        )
    detections = SampledDetections(dry_run.detections, made.seed) if dry_run.detections else made.detections
    return replace(made, profile=dry_run.profile(), detections=detections)


def load_in_the_mean(made: Scenario, means_ns: Mapping[str, Mapping[int, Time]], duration_s: float) -> float:
    """Returns the load as a share of the lanes' time, by mean durations: profiles keep the p99, which schedulers need
    but which would overstate the load.
    """
    served = [
        replace(each, stages=tuple(replace(s, durations_ns=means_ns.get(s.graph, s.durations_ns)) for s in each.stages))
        for each in made.served
    ]
    items, duration_ns = items_of(made.answers, made.detections), round(duration_s * SECOND_NS)
    return load_of(arrivals_of(made.requests), served, "best", 1.0, duration_ns, items) / len(made.lanes)


def changed(question: CapacityQuestion, made: Scenario) -> Scenario:
    """Returns the scenario with the changes of the question: more lanes, longer SLOs, more
    waiting frames, faster runs.
    """
    assert made.profile is not None
    twins = [replace(lane, lane=f"{lane.lane}.{n}") for lane in made.lanes for n in range(question.lanes)]
    requests = made.requests
    if question.slo != 1:
        requests = tuple(relaxed(request, question.slo) for request in requests)
    waiting = {stream: most + question.more_waiting for stream, most in made.waiting_max.items()}
    profile = Changed(made.profile, question.faster)
    return replace(made, lanes=tuple(twins), requests=requests, profile=profile, waiting_max=waiting)


def relaxed(request: Request, factor: float) -> Request:
    """Returns a request with a deadline whose SLO is multiplied by `factor`."""
    assert request.deadline_ns is not None
    slo_ns = request.deadline_ns - request.arrived_ns
    return replace(request, deadline_ns=request.arrived_ns + round(slo_ns * factor))


def with_repair(question: CapacityQuestion, made: Scenario) -> Scenario:
    """Returns the scenario with a repair running all the time, where the config watches for
    drift: SLOs must hold then, too.
    """
    config = question.config
    if config.drift is None or not config.background.share:
        return made
    step_ns = round(config.background.step_ms * 1e6)
    stage = Stage(kind=STEP, graph=REPAIR, durations_ns={1: step_ns})
    steps = question.duration_s * SECOND_NS * config.background.share * len(made.lanes) / step_ns
    repairs = [Request(number, REPAIR, REPAIR, 1) for number in range(1, 2 + ceil(1.5 * steps / STEPS_MEAN))]
    frames = [replace(each, id=len(repairs) + each.id) for each in made.requests]
    served = (*made.served, Served(Variant(REPAIR, "step", (stage.digest,)), (stage,)))
    return replace(made, served=served, requests=(*repairs, *frames))


@dataclass(frozen=True)
class SampledDetections:
    """Returns what some frame of the dry run contained, all kinds together; the frame is chosen by a hash."""

    found: Mapping[str, Sequence[Mapping[str, int]]]
    seed: int = 0

    def __call__(self, task: Task) -> Mapping[str, int]:
        frames = self.found.get(task.model)
        if not frames or task.parent is not None:
            return {}
        return frames[int(hash_uniform(self.seed, "frame", task.request, task.model) * len(frames))]


@dataclass
class Changed:
    """Adapts a profile to duplicated lanes ("cpu0.1" is like "cpu0"), all of them faster by a factor."""

    inner: Estimator
    factor: float = 1.0

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return self._scaled(stage, self.inner.duration_ns(stage, batch, like(lane)))

    def draw_ns(self, stage: Stage, batch: int, lane: str, random: Random) -> int:
        draw_ns = getattr(self.inner, "draw_ns", None)
        if draw_ns is None:
            return self.duration_ns(stage, batch, lane)
        return self._scaled(stage, draw_ns(stage, batch, like(lane), random))

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Ignores the observation: measured durations do not change."""

    def _scaled(self, stage: Stage, took_ns: int) -> int:
        """Scales a duration; a repair step keeps its own, since it ends when its time is over
        however fast the lane is.
        """
        return max(1, took_ns if stage.is_step else round(self.factor * took_ns))


def like(lane: str) -> str:
    """Returns the lane that this one duplicates."""
    return lane.rpartition(".")[0]
