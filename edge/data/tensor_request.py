"""Holds one row of a request that came with tensors instead of a frame, and whom to tell what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.core.events import Reply, Time
from edge.data.job import TaskJob, TensorInput
from edge.data.picture import Picture


@dataclass(slots=True)
class TensorRequest:
    """Holds one row of tensors, its deadline and its receiver.

    `told` is called once, on the loop thread: with the answer and the jobs that make it, or with the reason and no
    jobs. `request_id`: 0 until the loop has taken it in. `withdrawn`: its answer is no longer wanted.
    """

    app: str
    stream: str
    arrived_ns: Time
    deadline_ns: Time
    told: Callable[[Reply, Sequence[TaskJob]], None]
    given: TensorInput = field(default_factory=TensorInput)
    picture: Picture | None = None  # where the row came as a picture
    priority: int = 0
    request_id: int = 0
    withdrawn: bool = False
