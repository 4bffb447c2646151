"""Requests that name no variant: they say how accurate and how soon, and get the slowest one that is both."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from edge.answers.hashing import hash_uniform
from edge.answers.panel import Panel, on_offer, remember
from edge.core.events import Event, Reply, Request, Run, StepResult, Task, Time
from edge.core.interfaces import About, Moment, Opening, Progress
from edge.core.state import Lane, OpenRequest, State
from porting.variant import Variant

SECOND_NS = 1_000_000_000


class VariantProfile(NamedTuple):
    """A variant as it stands on this box."""

    accuracy: float  # 0..1; 0: nobody has measured it
    duration_ns: Time  # of a batch as large as it usually is, on the quickest lane
    batch: float  # how large that is
    lanes: int  # that have all of it loaded
    missing_bytes: int  # to be loaded, where no lane has all of it


@dataclass
class VariantLoad:
    """What a variant had to do in the last period."""

    answered: int = 0  # or dropped
    latency_ns: int = 0  # their sum, from arrival
    works: int = 0
    tasks: int = 0  # in those works

    def forget(self) -> None:
        self.answered = self.latency_ns = self.works = self.tasks = 0


@dataclass
class ModelLess:
    """Of the variants of `model` that are at least as accurate as `accuracy_min`, and that fit `headroom` times into
    the request's deadline, the slowest one that is loaded and not overloaded.

    Every `period_s` a variant counts as overloaded when its requests took more than `enter` times as long as one batch
    while it had more than `busy` of what it can do, or when `backlog_s` of work is waiting for it; until they take less
    than `leave` times as long. The share `probe` of requests still tries one that is overloaded.
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
            "seed": "ours: chance is a hash of seed and request",
            "remembered_max": "ours: a bound on memory",
        },
        deviations=(
            "a request is one item, so the batch whose duration counts is the one that was usual lately",
            "dropped requests count with the time they waited: here late ones are dropped and would leave no latency",
            "all variants are looked at: there are few, and no store to ask over a network",
            "where nothing is accurate enough, the most accurate; where nothing fits, the quickest",
        ),
        needs=frozenset({"variants"}),
    )

    def __post_init__(self) -> None:
        self.panel = Panel(self.model)
        self.known: dict[str, VariantProfile] = {}
        self.names: dict[tuple[str, ...], str] = {}  # by chain
        self.allowed: Mapping[str, float] = {}  # by the plan; empty: all
        self.loads: dict[str, VariantLoad] = {}
        self.overloaded: set[str] = set()
        self.chosen: dict[int, tuple[str, Time]] = {}  # request -> variant, when it arrived
        self.looked_ns: Time = 0

    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def opened(self, request: Request) -> Sequence[Opening]:
        name = self._choose(request)
        if name:
            remember(self.chosen, request.id, (name, request.arrived_ns), self.remembered_max)
        return (Opening(self.model, variant=name),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(answered=True)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        return ()

    # ---- which one -------------------------------------------------------------------------------------------------

    def _choose(self, request: Request) -> str:
        """Empty: nothing is known yet, so whatever serves."""
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

    # ---- what it sees ----------------------------------------------------------------------------------------------

    def observe(self, moment: Moment) -> Iterator[Event]:
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
    return [digest for digest in variant.stages if not lane.residency.holds(digest)]


def chain_ns(state: State, variant: Variant, batch: int, lane: Lane) -> Time:
    """All stages of the variant one after the other, in the next larger batch that each accepts."""
    total = 0
    for digest in variant.stages:
        sizes = state.stages[digest].batches
        total += state.duration_ns(digest, next((size for size in sizes if size >= batch), sizes[-1]), lane)
    return total
