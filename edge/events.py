"""What can happen and what can be ordered: frozen values, ids and sizes, integer nanoseconds of one monotonic clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from porting.variant import Stage, Variant

Time = int  # nanoseconds since the run began; monotonic, never wall-clock
NEVER: Time = 2**62

# How a request ended. "ok" is the only one that carries a result; every other one is a counted drop with this reason.
Outcome = Literal["ok", "late", "superseded", "failed", "refused", "withdrawn", "stopped"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants: one frame through one app, or one piece of background work (no deadline)."""

    id: int
    app: str  # the service asked for: a model, or a DAG of models
    stream: str  # the camera or client it came from
    arrived_ns: Time
    deadline_ns: Time | None = None  # None: background work
    priority: int = 0  # larger goes first among equals


@dataclass(frozen=True, slots=True)
class Task:
    """One model's work for one item. Waits in the queue of stage `chain[at]`; keeps its id from stage to stage."""

    id: int
    requests: tuple[int, ...]  # whom it serves
    model: str
    chain: tuple[str, ...]  # stage digests of the variant that served when the task was opened
    at: int
    arrived_ns: Time
    deadline_ns: Time | None
    priority: int = 0
    parent: int | None = None  # the task whose result opened this one
    item: int = 0  # which of the parent's items
    attempts: int = 0  # failed works it was part of


@dataclass(frozen=True, slots=True)
class StepResult:
    """What the core learns of a task's step."""

    done: bool = True  # False: the task waits again, for stage `next` of its chain
    next: int | None = None  # None: the following stage; the same index again for a training step
    confidence: float = 1.0  # 0..1
    children: Mapping[str, int] = field(default_factory=dict)  # kind of item found -> how many


# ---- events: what can happen -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrived:
    request: Request


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The client no longer wants it (a newer frame took its slot). Ignored once work on it has begun."""

    request_id: int
    reason: Outcome = "superseded"


@dataclass(frozen=True, slots=True)
class Finished:
    work_id: int
    results: Mapping[int, StepResult]  # by task id
    took_ns: int | None = None  # measured on the lane; None: take the time between order and event


@dataclass(frozen=True, slots=True)
class Failed:
    work_id: int
    reason: str
    tasks: tuple[int, ...] = ()  # the ones at fault; empty: unknown, each is tried once more on its own


@dataclass(frozen=True, slots=True)
class Stopped:
    work_id: int


@dataclass(frozen=True, slots=True)
class Loaded:
    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    lane: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evicted:
    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class LaneUp:
    lane: str
    kind: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class LaneDown:
    lane: str
    reason: str


@dataclass(frozen=True, slots=True)
class Served:
    """A model's serving pointer moved. The core switches once the new stages are resident, and not before."""

    variant: Variant
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the slow loop decides and the fast loop obeys."""

    background: float = 1.0  # share of each lane that work without a deadline may take, 0..1


@dataclass(frozen=True, slots=True)
class Planned:
    plan: Plan


@dataclass(frozen=True, slots=True)
class Woke:
    """The time that `WakeAt` asked for has come."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The daemon stops: what waits is answered "stopped", what runs has a moment to finish."""


Event = (
    Arrived
    | Withdrawn
    | Finished
    | Failed
    | Stopped
    | Loaded
    | LoadFailed
    | Evicted
    | LaneUp
    | LaneDown
    | Served
    | Planned
    | Woke
    | Closing
)

# ---- actions: what can be ordered --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Run `stages` back to back on these tasks, as one batch. `work_id` is 0 until the scheduler numbers it."""

    work_id: int
    lane: str
    stages: tuple[str, ...]  # one, or consecutive ones where a boundary would cost more than it gives
    tasks: tuple[Task, ...]
    background: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    work_id: int


@dataclass(frozen=True, slots=True)
class Load:
    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class Evict:
    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class Reply:
    request_id: int
    outcome: Outcome
    tasks: tuple[int, ...] = ()  # whose outputs make the result, in the order they were opened
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WakeAt:
    time_ns: Time


Action = Run | Stop | Load | Evict | Reply | WakeAt
