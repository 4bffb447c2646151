"""Implements INFaaS's model-less requests: the slowest variant that meets accuracy and deadline serves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from edge.answers.hashing import hash_uniform
from edge.answers.panel import Panel, on_offer, remember
from edge.core.events import Event, Reply, Request, Run, StepResult, Task, Time
from edge.core.interfaces import Moment, Opening, Progress
from edge.core.state import Lane, OpenRequest, State
from edge.plugins import About
from porting.variant import Variant

SECOND_NS = 1_000_000_000


class VariantProfile(NamedTuple):
    """Holds the current properties of a variant on this box."""

    accuracy: float  # 0..1; 0: not measured
    duration_ns: Time  # of a batch of the usual size, on the quickest lane
    batch: float  # usual batch size: the mean of the last period with any work
    lanes: int  # lanes that hold all of its stages
    missing_bytes: int  # to be loaded on the lane that lacks least


@dataclass
class VariantLoad:
    """Counts what a variant did in the present period."""

    answered: int = 0  # requests, dropped ones included
    latency_ns: int = 0  # sum over those requests, from arrival
    works: int = 0
    tasks: int = 0  # sum of the batch sizes of those works

    def forget(self) -> None:
        """Resets all counts."""
        self.answered = self.latency_ns = self.works = self.tasks = 0


@dataclass
class ModelLess:
    """Chooses a variant of `model` per request: the slowest that is accurate, quick, loaded and not overloaded.

    Accurate: at least `accuracy_min`. Quick: its usual batch fits `headroom` times into the request's deadline.

    Every `period_s` a variant becomes overloaded if its requests took more than `enter` times as long as one batch
    while it did more than `busy` of what it can do, or if requests for more than `backlog_s` of work are open. It
    recovers when its requests take less than `leave` times as long as one batch. A share `probe` of the requests is
    still sent to an overloaded variant, so that its recovery is noticed.

    `model`: name of the model.
    `accuracy_min`: 0..1.
    `headroom`: durations of the usual batch that must fit into the deadline.
    `probe`: share of requests that try an overloaded variant, 0..1.
    `enter`: ratio of latency to batch duration above which a variant is overloaded.
    `leave`: ratio of latency to batch duration below which it is not overloaded any more.
    `busy`: share of its capacity that an overloaded variant must have used, 0..1.
    `backlog_s`: seconds of open work that make a variant overloaded.
    `period_s`: seconds between two such checks.
    `seed`: seed of the probes.
    `remembered_max`: open requests remembered; the oldest is forgotten first.
    """

    model: str
    accuracy_min: float = 0.0
    headroom: float = 2.0
    probe: float = 0.1
    enter: float = 2.5
    leave: float = 1.5
    busy: float = 0.5
    backlog_s: float = 0.8
    period_s: float = 1.0
    seed: int = 0
    remembered_max: int = 4096

    about: ClassVar[About] = About(
        paper="INFaaS (Romero et al., ATC 2021, section 4.2)",
        sources={
            "model": "the app's",
            "accuracy_min": "the app's",
            "headroom": "Nexus (SOSP 2019): a request waits for the batch under way, then for its own",
            "probe": "its released code",
            "enter": "its released code",
            "leave": "its released code",
            "busy": "its released code",
            "backlog_s": "its released code",
            "period_s": "its released code: the monitor's period, about a second",
            "seed": "ours: probes are drawn from a hash of seed and request",
            "remembered_max": "ours: a bound on memory",
        },
        deviations=(
            "a request is one item, so the duration that counts is that of the recent mean batch size",
            "dropped requests count with the time they waited: late ones are dropped here and would leave no latency",
            "all variants are examined: there are few, and no metadata store to query over a network",
            "if no variant is accurate enough the most accurate serves; if none fits the deadline, the quickest",
        ),
        needs=frozenset({"variants"}),
    )

    def __post_init__(self) -> None:
        self.panel = Panel(self.model)
        self.known: dict[str, VariantProfile] = {}
        self.names: dict[tuple[str, ...], str] = {}  # chain of stages -> variant
        self.allowed: Mapping[str, float] = {}  # variant -> share, by the plan; empty: all are allowed
        self.loads: dict[str, VariantLoad] = {}
        self.overloaded: set[str] = set()
        self.chosen: dict[int, tuple[str, Time]] = {}  # open request -> variant, arrival
        self.looked_ns: Time = 0

    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def opened(self, request: Request) -> Sequence[Opening]:
        """Opens one task, for the chosen variant."""
        name = self._choose(request)
        if name:
            remember(self.chosen, request.id, (name, request.arrived_ns), self.remembered_max)
        return (Opening(self.model, variant=name),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(answered=True)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        return ()

    # ---- the choice ------------------------------------------------------------------------------------------------

    def _choose(self, request: Request) -> str:
        """Returns the name of a variant; empty if none is known yet: then the serving one is used."""
        eligible = self._eligible()
        if not eligible:
            return ""
        slo_ns = None if request.deadline_ns is None else request.deadline_ns - request.arrived_ns
        fitting = [it for it in eligible if slo_ns is None or self.headroom * self.known[it].duration_ns <= slo_ns]
        if not fitting:
            return self._quickest(eligible)
        loaded = [name for name in fitting if self.known[name].lanes]
        if not loaded:
            return min(fitting, key=lambda it: (self.known[it].missing_bytes, self.known[it].duration_ns, it))
        clear = [name for name in loaded if name not in self.overloaded]
        barred = [name for name in loaded if name in self.overloaded]
        if barred and hash_uniform(self.seed, "probe", request.id) < self.probe:
            return self._slowest(barred)
        return self._slowest(clear) if clear else self._quickest(barred)

    def _eligible(self) -> list[str]:
        """Returns the variants that the plan allows and that are accurate enough; else the most accurate ones."""
        names = [name for name in self.known if not self.allowed or self.allowed.get(name, 0.0) > 0] or [*self.known]
        enough = [name for name in names if self.known[name].accuracy >= self.accuracy_min]
        if enough or not names:
            return enough
        best = max(known.accuracy for known in self.known.values())
        return [name for name, known in self.known.items() if known.accuracy == best]

    def _slowest(self, names: Iterable[str]) -> str:
        return max(names, key=lambda name: (self.known[name].duration_ns, self.known[name].accuracy, name))

    def _quickest(self, names: Iterable[str]) -> str:
        return min(names, key=lambda name: (self.known[name].duration_ns, -self.known[name].accuracy, name))

    # ---- observations ----------------------------------------------------------------------------------------------

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Counts replies and runs, and surveys variants when they or the period change; posts no events."""
        self.allowed = moment.state.plan.variants.get(self.model, {})
        for action in moment.actions:
            if isinstance(action, Reply) and action.request_id in self.chosen:
                self._answered(*self.chosen.pop(action.request_id), moment.now)
            elif isinstance(action, Run) and action.tasks[0].model == self.model and action.tasks[0].at == 0:
                self._ran(action)
        over = moment.now - self.looked_ns >= self.period_s * SECOND_NS
        if self.panel.look(moment) or over:
            self._survey(moment.state)
        if over:
            self._judge()
            self.looked_ns = moment.now
        yield from ()

    def _answered(self, name: str, arrived_ns: Time, now: Time) -> None:
        load = self.loads.setdefault(name, VariantLoad())
        load.answered += 1
        load.latency_ns += now - arrived_ns

    def _ran(self, run: Run) -> None:
        name = run.variant or self.names.get(run.tasks[0].chain, "")
        load = self.loads.setdefault(name, VariantLoad())
        load.works += 1
        load.tasks += len(run.tasks)

    def _survey(self, state: State) -> None:
        """Updates which variants are on offer and what each takes on this box."""
        variants = on_offer(state, self.model)
        self.names = {variant.stages: variant.name for variant in variants}
        self.loads = {variant.name: self.loads.get(variant.name, VariantLoad()) for variant in variants}
        self.overloaded.intersection_update(self.names.values())
        self.known = {variant.name: self._known(state, variant) for variant in variants}

    def _known(self, state: State, variant: Variant) -> VariantProfile:
        load = self.loads[variant.name]
        before = self.known[variant.name].batch if variant.name in self.known else 1.0
        batch = load.tasks / load.works if load.works else before
        lanes = [*state.lanes.values()]
        missing = [
            sum(lane.residency.missing_bytes(state.stages[it]) for it in absent(variant, lane)) for lane in lanes
        ]
        duration_ns = min((chain_ns(state, variant, round(batch), lane) for lane in lanes), default=0)
        held = sum(not absent(variant, lane) for lane in lanes)
        return VariantProfile(variant.accuracy or 0.0, duration_ns, batch, held, min(missing, default=0))

    def _judge(self) -> None:
        """Marks variants as overloaded or recovered, and starts the next period."""
        outstanding = Counter(name for name, _ in self.chosen.values())
        for name, known in self.known.items():
            load = self.loads[name]
            latency_ns = load.latency_ns / load.answered if load.answered else 0.0
            per_s = max(1, known.lanes) * known.batch * SECOND_NS / max(1, known.duration_ns)
            waits = outstanding[name] > self.backlog_s * per_s
            slow = latency_ns > self.enter * known.duration_ns and load.answered > self.busy * per_s * self.period_s
            if waits or slow:
                self.overloaded.add(name)
            elif latency_ns < self.leave * known.duration_ns:
                self.overloaded.discard(name)
            load.forget()


def absent(variant: Variant, lane: Lane) -> list[str]:
    """Returns the variant's stages that this lane does not hold."""
    return [digest for digest in variant.stages if not lane.residency.holds(digest)]


def chain_ns(state: State, variant: Variant, batch: int, lane: Lane) -> Time:
    """Returns how long all stages of the variant take one after the other on this lane, in nanoseconds.

    `batch`: rounded up, for each stage, to the next size that the stage accepts, or down to its largest.
    """
    total = 0
    for digest in variant.stages:
        sizes = state.stages[digest].batches
        total += state.duration_ns(digest, next((size for size in sizes if size >= batch), sizes[-1]), lane)
    return total
