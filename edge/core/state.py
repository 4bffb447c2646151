"""Holds what the scheduler knows, as plain data: only the scheduler writes here; policies and observers read."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal, Protocol

from devices.traits import PLAIN, Traits
from edge.core.events import NEVER, Plan, Request, Run, Task, Time
from edge.core.queues import Queues
from edge.core.residency import Residency
from porting.variant import Stage, Variant

WINDOW_NS = 1_000_000_000  # over which the share of background work is counted
LOADS_MAX = 3  # failed loads of a stage on a lane before it counts as impossible there

# How one version of a model gives way to the next. "availability": the old one serves until the new one is loaded, and
# a new one that has no room beside it is given up. "resource": the old one leaves first. "auto": the old one serves
# until then where the two fit together, whatever else has to go for it, the old one included; else it leaves.
Transition = Literal["auto", "availability", "resource"]


class Estimator(Protocol):
    """Predicts how long a batch will take."""

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns a high quantile of the time that `stage` takes for `batch` tasks on this lane, in ns; positive."""

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Learns that such a batch has just taken `took_ns`."""


@dataclass(slots=True)
class Lane:
    """Describes a place where one work runs at a time. It may load a stage meanwhile."""

    name: str
    kind: str
    residency: Residency
    running: Run | None = None
    began_ns: Time = 0
    stopping: int = 0  # the last work here that a policy told to stop: it may run on for a while
    loading: str | None = None
    failures: dict[str, int] = field(default_factory=dict)  # stage digest -> failed loads
    recent: deque[tuple[Time, int]] = field(default_factory=deque)  # background works of the last WINDOW_NS: end, took
    recent_ns: int = 0  # their sum
    ended: Run | None = None  # the last work that finished here: policies learn from it
    took_ns: int = 0  # how long it took
    traits: Traits = PLAIN

    def can_hold(self, digest: str, stage: Stage) -> bool:
        """Tells whether the stage is small enough for this lane, and loading it here has not failed too often."""
        return stage.memory_bytes <= self.residency.limit_bytes and self.failures.get(digest, 0) < LOADS_MAX

    def has(self, digest: str) -> bool:
        """Tells whether the stage is loaded here or on its way in."""
        return digest in self.residency.resident or self.loading == digest


@dataclass(slots=True)
class Model:
    """Describes which version of a model serves, and which will as soon as it is loaded."""

    serving: Variant | None = None
    pending: Variant | None = None
    foreground: bool = False  # something with a deadline has asked for it
    trouble: str = ""  # why the last pending variant was given up; empty again after the next switch
    given_up: str | None = None  # its name
    variants: dict[str, Variant] = field(default_factory=dict)  # by name: all that may serve, whether loaded or not
    former: Variant | None = None  # what served before and has to leave first; serves again if the new one is damaged
    leaving: set[str] = field(default_factory=set)  # stages of such versions: the new one is not loaded beside them


@dataclass(slots=True)
class OpenRequest:
    """Holds the books of a request that is not answered yet."""

    request: Request
    tasks: list[int] = field(default_factory=list)  # in the order they were opened
    finished: list[int] = field(default_factory=list)  # in the order they came to an end
    lost: list[int] = field(default_factory=list)  # failed or given up, while the rest may still make an answer
    unfinished: int = 0
    waiting: dict[int, Task] = field(default_factory=dict)
    begun: bool = False


@dataclass(slots=True)
class State:
    """Holds everything that decisions may depend on."""

    estimator: Estimator
    now: Time = 0
    plan: Plan = field(default_factory=Plan)
    closing: bool = False
    closing_ns: Time = NEVER  # since when
    wake_ns: Time = NEVER  # when the world will say `Woke`
    lanes: dict[str, Lane] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    requests: dict[int, OpenRequest] = field(default_factory=dict)
    queues: Queues = field(default_factory=Queues)  # tasks with a deadline
    background: Queues = field(default_factory=Queues)  # tasks without
    works: dict[int, str] = field(default_factory=dict)  # work id -> lane
    flights: dict[tuple[str, ...], int] = field(default_factory=dict)  # chain -> unfinished tasks that walk it
    next_task: int = 1
    next_work: int = 1
    transition: Transition = "auto"
    ignored: int = 0  # events about works and loads that were over already
    # Derived from models, lanes and stages whenever one of them changes:
    needed: dict[str, bool] = field(default_factory=dict)  # stages that serve or are to serve -> for the foreground?
    resident: set[str] = field(default_factory=set)  # stages that are loaded on some lane
    pending: set[str] = field(default_factory=set)  # stages of variants that are to serve
    wanted: list[tuple[str, str]] = field(default_factory=list)  # (lane, stage): needed, not there; most urgent first
    impossible: dict[str, str] = field(default_factory=dict)  # stages that no lane can take -> why
    leaving: set[str] = field(default_factory=set)  # of all models

    def duration_ns(self, digest: str, batch: int, lane: Lane) -> int:
        """Returns how long a batch of this stage is expected to take on a lane, in ns."""
        return self.estimator.duration_ns(self.stages[digest], batch, lane.name)

    def remaining_ns(self, task: Task, lane: Lane) -> int:
        """Returns how long a task is expected to take from its next stage to the end of its chain, alone, in ns."""
        duration_ns, stages, name = self.estimator.duration_ns, self.stages, lane.name
        return sum([duration_ns(stages[digest], 1, name) for digest in task.chain[task.at :]])

    def in_flight(self) -> set[str]:
        """Returns the stages that unfinished tasks may still walk."""
        return {digest for chain in self.flights for digest in chain}

    def trouble_ahead(self, task: Task) -> str:
        """Returns why no lane can ever run the rest of a task's chain; empty where one can."""
        impossible = self.impossible
        return next((impossible[digest] for digest in task.chain[task.at :] if digest in impossible), "")

    def queues_of(self, task: Task) -> Queues:
        """Returns the queues that a task waits in: those of the foreground, or of work without a deadline."""
        return self.background if task.deadline_ns is None else self.queues

    def depart(self, chain: tuple[str, ...]) -> None:
        """Counts a task that begins to walk a chain."""
        self.flights[chain] = self.flights.get(chain, 0) + 1

    def retire(self, task: Task) -> None:
        """Counts out a task that will do nothing more, or walks another chain from here on."""
        flights = self.flights
        flights[task.chain] -= 1
        if not flights[task.chain]:
            del flights[task.chain]

    def check(self) -> None:
        """Asserts every invariant; takes time in proportion to all that is open.

        Property tests call it after each event, the daemon under `--check-state`.
        """
        waiting = {task.id: task for queues in (self.queues, self.background) for task in queues.tasks()}
        works = {lane.name: lane.running for lane in self.lanes.values() if lane.running}
        running = {task.id: task for work in works.values() for task in work.tasks}
        for queues in (self.queues, self.background):
            assert all(queue and queue == sorted(queue, key=lambda entry: entry[:2]) for queue in queues.values())
            assert all(self.queues_of(task) is queues for task in queues.tasks()), "a task waits among the wrong ones"
        assert not waiting.keys() & running.keys(), "a task waits while it runs"
        booked = [task for opened in self.requests.values() for task in opened.waiting]
        assert sorted(booked) == sorted(waiting), "what requests say waits is not what queues hold"
        for opened in self.requests.values():
            left = len(opened.tasks) - len(opened.finished) - len(opened.lost)
            assert opened.unfinished == left > 0, f"request {opened.request.id}: tasks do not add up"
        flights = Counter(task.chain for task in (*waiting.values(), *running.values()))
        assert flights == self.flights, "chains in flight are not those of the tasks"
        assert self.works == {work.work_id: name for name, work in works.items()}, "works are not what runs"
        for lane in self.lanes.values():
            lane.residency.check()
            assert lane.recent_ns == sum(took for _, took in lane.recent), f"{lane.name}: background time miscounted"
        assert self.resident == {digest for lane in self.lanes.values() for digest in lane.residency.resident}
        assert self.leaving == set().union(*(model.leaving for model in self.models.values()))
        versions = [each for model in self.models.values() for each in (model.serving, model.pending, model.former)]
        known = {digest for version in versions if version for digest in version.stages}
        assert known | set(self.needed) <= set(self.stages), "a version has a stage of which nothing is known"
