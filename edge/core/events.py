"""Names what can happen and what can be ordered: frozen values, ids and sizes, integer ns of one monotonic clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from devices.traits import Traits, traits_of_kind
from porting.variant import Stage, Variant

Time = int  # nanoseconds since the run began; monotonic, never wall-clock
NEVER: Time = 2**62

# How a request ended. "ok" is the only one that carries a result; every other one is a counted drop with this reason.
Outcome = Literal["ok", "late", "superseded", "failed", "refused", "withdrawn", "stopped"]


@dataclass(frozen=True, slots=True)
class Request:
    """Asks for one frame through one app, or for one piece of background work (no deadline)."""

    id: int
    app: str  # the service asked for: a model, or a DAG of models
    stream: str  # the camera or client it came from
    arrived_ns: Time
    deadline_ns: Time | None = None  # None: background work
    priority: int = 0  # larger goes first among equals


@dataclass(frozen=True, slots=True)
class Task:
    """Stands for one model's work on one item. Waits for stage `chain[at]`; keeps its id from stage to stage."""

    id: int
    request: int  # the id of the one that it serves
    model: str
    chain: tuple[str, ...]  # stage digests of the variant that served when the task was opened
    at: int
    arrived_ns: Time
    deadline_ns: Time | None
    priority: int = 0
    parent: int | None = None  # the task whose result opened this one
    item: int = 0  # which of the parent's items
    attempts: int = 0  # failed works it was part of
    fixed: bool = False  # its variant was asked for by name: a policy may not choose another


@dataclass(frozen=True, slots=True)
class StepResult:
    """Tells the core what came of a task's step."""

    done: bool = True  # False: the task waits again, for stage `next` of its chain
    next: int | None = None  # None: the following stage; the same index again for a training step
    confidence: float = 1.0  # 0..1
    children: Mapping[str, int] = field(default_factory=dict)  # kind of item found -> how many


# ---- events: what can happen -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrived:
    """Says that a request came."""

    request: Request


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Says that a client no longer wants it (a newer frame took its slot). Ignored once work on it has begun."""

    request_id: int
    reason: Outcome = "superseded"


@dataclass(frozen=True, slots=True)
class Finished:
    """Says that a work ended and what came of its tasks."""

    work_id: int
    results: Mapping[int, StepResult]  # by task id
    took_ns: int | None = None  # measured on the lane; None: take the time between order and event


@dataclass(frozen=True, slots=True)
class Failed:
    """Says that a work failed on its lane."""

    work_id: int
    reason: str
    tasks: tuple[int, ...] = ()  # the ones at fault; empty: unknown, each is tried once more on its own


@dataclass(frozen=True, slots=True)
class Stopped:
    """Says that a work ended without a result: it was told to, or given back."""

    work_id: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Says that a lane has loaded a stage."""

    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """Says that a lane could not load a stage."""

    lane: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evicted:
    """Says that a stage is no longer in a lane's memory."""

    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class LaneUp:
    """Says that a lane can be used; nothing is loaded there yet."""

    lane: str
    kind: str  # of its device: selects profiles
    memory_bytes: int
    own_traits: Traits | None = None  # what its device says of itself; None: what its kind is known for

    def __post_init__(self) -> None:
        if self.own_traits == traits_of_kind(self.kind):  # one way to say it: traces say the kind alone
            object.__setattr__(self, "own_traits", None)

    @property
    def traits(self) -> Traits:
        """Returns what a policy may know of the lane's device."""
        return self.own_traits or traits_of_kind(self.kind)


@dataclass(frozen=True, slots=True)
class LaneDown:
    """Says that a lane is gone, with all that was loaded on it."""

    lane: str
    reason: str


@dataclass(frozen=True, slots=True)
class Served:
    """Says that a model's serving pointer moved. The core switches once the new stages are resident, and not before.

    `others`: variants (and early exits) of the same model that a policy or an answer may choose in its place.
    """

    variant: Variant
    stages: tuple[Stage, ...]  # of all of them
    others: tuple[Variant, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Holds what the slow loop decides and the fast loop obeys. An empty mapping leaves the choice to the fast loop."""

    background: float = 1.0  # share of each lane that work without a deadline may take, 0..1
    placement: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # lane -> models that belong on it
    batches: Mapping[str, int] = field(default_factory=dict)  # model -> the batch to aim at
    duty_ns: Mapping[str, Time] = field(default_factory=dict)  # lane -> duty cycle
    variants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # model -> variant -> share of requests
    admitted: Mapping[str, float] = field(default_factory=dict)  # model -> share of requests to take on, 0..1
    budgets_ns: Mapping[str, Time] = field(default_factory=dict)  # model -> its part of an end-to-end deadline
    preload: tuple[str, ...] = ()  # models to have in memory before they are asked for


@dataclass(frozen=True, slots=True)
class Planned:
    """Says that the plan is another one from now on."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Feedback:
    """Brings the truth about an answer, from people or a teacher. The core does nothing; plug-ins that learn see it."""

    request_id: int
    losses: Mapping[str, float]  # model, or "model/variant" -> 0 (right) .. 1 (wrong)


@dataclass(frozen=True, slots=True)
class Combined:
    """Tells what the members of an ensemble said of one request, and what was made of it, to plug-ins that learn.

    The share of members that agree needs no labels: where it falls, the world may have changed.
    """

    request_id: int
    label: str  # the answer; empty: none of them was sure enough
    confidence: float  # share of all members asked that said so, 0..1
    votes: Mapping[str, str]  # "model/variant" -> its label; who came too late is not among them


@dataclass(frozen=True, slots=True)
class Woke:
    """Says that the time which `WakeAt` asked for has come."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Says that the daemon stops: what waits is answered "stopped", what runs has a moment to finish."""


Event = (
    Arrived | Withdrawn | Finished | Failed | Stopped | Loaded | LoadFailed | Evicted | LaneUp | LaneDown | Served
    | Planned | Feedback | Combined | Woke | Closing
)  # fmt: skip

# ---- actions: what can be ordered --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Orders `stages` back to back on these tasks, as one batch. `work_id` is 0 until the scheduler numbers it.

    `variant`: from here on the tasks walk this variant of their model. It differs from theirs in stages not yet run.
    `latest_ns`: a lane that would begin later gives the work back (`Stopped`): Clockwork (OSDI 2020), action windows.
    """

    work_id: int
    lane: str
    stages: tuple[str, ...]  # one, or consecutive ones where a boundary would cost more than it gives
    tasks: tuple[Task, ...]
    background: bool = False
    variant: str = ""
    latest_ns: Time = NEVER


@dataclass(frozen=True, slots=True)
class Stop:
    """Orders a running work to end early."""

    work_id: int


@dataclass(frozen=True, slots=True)
class Load:
    """Orders a lane to load a stage."""

    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Orders a lane to forget a stage."""

    lane: str
    stage: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Orders the answer of a request; from a policy: gives it up, or some of its tasks."""

    request_id: int
    outcome: Outcome
    tasks: tuple[int, ...] = ()  # whose outputs make the result, in the order opened; from a policy: what it gives up
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Asks for `Woke` at this time."""

    time_ns: Time


Action = Run | Stop | Load | Evict | Reply | WakeAt
