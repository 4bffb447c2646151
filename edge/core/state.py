"""What the scheduler knows, as plain data. Only the scheduler writes here; policies and observers read."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from devices.traits import PLAIN, Traits
from edge.core.events import NEVER, Plan, Request, Run, Task, Time
from edge.core.residency import Residency
from porting.variant import Stage, Variant

WINDOW_NS = 1_000_000_000  # over which the share of background work is counted
LOADS_MAX = 3  # failed loads of a stage on a lane before it counts as impossible there

Entry = tuple[tuple[Any, ...], int, Task]  # policy.order(task), task.id, task: no two are equal, none compares tasks
Queues = dict[str, list[Entry]]  # by stage digest; sorted; never an empty list


# How one version of a model gives way to the next. "availability": the old one serves until the new one is loaded, and
# a new one that has no room beside it is given up. "resource": the old one leaves first. "auto": the old one serves
# until then where the two fit together, whatever else has to go for it, the old one included; else it leaves.
Transition = Literal["auto", "availability", "resource"]


class Estimator(Protocol):
    """How long a batch will take."""

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """A high quantile of the time that `stage` takes for `batch` tasks on this lane; positive."""

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """It took this long just now."""


@dataclass(slots=True)
class Lane:
    """One place where one work runs at a time. It may load a stage meanwhile."""

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
        return stage.memory_bytes <= self.residency.limit_bytes and self.failures.get(digest, 0) < LOADS_MAX


@dataclass(slots=True)
class Model:
    """Which variant serves, and which will as soon as it is loaded."""

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
    """A request that is not answered yet."""

    request: Request
    tasks: list[int] = field(default_factory=list)  # in the order they were opened
    finished: list[int] = field(default_factory=list)  # in the order they came to an end
    lost: list[int] = field(default_factory=list)  # failed or given up, while the rest may still make an answer
    unfinished: int = 0
    waiting: dict[int, Task] = field(default_factory=dict)
    begun: bool = False


@dataclass(slots=True)
class State:
    """Everything that decisions may depend on."""

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
    queues: Queues = field(default_factory=dict)  # tasks with a deadline
    background: Queues = field(default_factory=dict)  # tasks without
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
        return self.estimator.duration_ns(self.stages[digest], batch, lane.name)

    def remaining_ns(self, task: Task, lane: Lane) -> int:
        """From the task's next stage to the end of its chain, on its own."""
        duration_ns, stages, name = self.estimator.duration_ns, self.stages, lane.name
        return sum([duration_ns(stages[digest], 1, name) for digest in task.chain[task.at :]])

    def held(self, digest: str) -> bool:
        """Is it loaded anywhere?"""
        return digest in self.resident

    def in_flight(self) -> set[str]:
        """Stages that unfinished tasks may still walk."""
        return {digest for chain in self.flights for digest in chain}
