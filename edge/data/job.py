"""Holds what a lane needs to know of a task, and what the daemon keeps of an unanswered request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from devices.interface import Array
from edge.core.events import Reply, Request, Run, Time
from edge.data.frame import Frame
from edge.data.outcome import TaskOutcome
from edge.data.picture import Picture
from porting.variant import InputSpec, Stage, Variant

Step = Callable[[int], bool]  # background work: takes a budget in ns, says whether it is done


@dataclass(frozen=True, slots=True)
class TensorInput:
    """Holds the inputs of a first stage that were sent instead of a frame: a row of each, without the batch axis.

    `head`: inputs that all rows share, for a stage that has no head of its own. Equal heads must be the same object,
    since tasks share a batch by its identity.
    """

    rows: Mapping[str, Array] = field(default_factory=dict)
    head: Mapping[str, Array] = field(default_factory=dict)


@dataclass(slots=True)
class TaskJob:
    """Holds all that a lane knows of one task, from its first order until its request is answered."""

    model: str
    variant: Variant
    picture: Picture | None = None
    step: Step | None = None
    parent: int | None = None  # task id
    item: int = 0
    input: InputSpec | None = None  # of its first stage, which may be on another lane or gone by the time of the last
    tensors: dict[str, Array] = field(default_factory=dict)  # left by the last stage, no batch axis
    given: "TensorInput | None" = None  # where it came with tensors; its last tensors are the answer then
    outcome: TaskOutcome = field(default_factory=TaskOutcome)
    infer_ns: int = 0
    post_ns: int = 0


@dataclass(slots=True)
class WorkOrder:
    """Adds to a `Run` everything the lane thread needs, so that it never looks at the core's state."""

    run: Run
    stages: tuple[Stage, ...]
    jobs: tuple[TaskJob, ...]


@dataclass(slots=True)
class InFlightRequest:
    """Holds an unanswered request: where it came from, and what its tasks have brought so far."""

    request: Request
    frame: Frame | None = None
    picture: Picture | None = None
    step: Step | None = None
    given: TensorInput | None = None
    jobs: dict[int, TaskJob] = field(default_factory=dict)  # by task id
    begun: bool = False
    on_reply: "Callable[[InFlightRequest, Reply], None] | None" = None


class Listener(Protocol):
    """Hears of every frame on the loop thread: that it came, and that it was dropped or answered."""

    def arrived(self, camera: str) -> None: ...
    def dropped(self, camera: str, app: str, reason: str) -> None: ...
    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None: ...
