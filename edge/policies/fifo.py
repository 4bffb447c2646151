"""Runs what arrived first; drops what can no longer be in time, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Action, Task, Time
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.batching import next_action
from edge.policies.blocks.feasibility import Drop
from edge.policies.blocks.greedy import Queue, take


@dataclass
class Fifo:
    """Runs the head that arrived first.

    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    `drop`: which tasks are dropped. "hopeless" also keeps a batch as small as its head needs it. "expired" and "never"
        use no durations: a batch is what waits, up to `batch_max`; "never" also runs late tasks and answers them late.
    """

    batch_max: int = 8
    boundary_ms: float = 2.0
    drop: Drop = "hopeless"

    about: ClassVar[About] = About(
        paper="first come, first served: the baseline of every serving paper, there with drop: never",
        sources={
            "batch_max": "ours: a cap on memory, where the stage accepts larger batches",
            "boundary_ms": "ours: what a boundary between two stages may cost",
            "drop": "ours: late answers are of no use to a camera",
        },
        deviations=("tasks that wait for the same stage as the first are batched with it",),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.arrived_ns, -task.priority)

    def decide(self, state: State, now: Time) -> Action | None:
        if self.drop == "hopeless":
            return next_action(state, now, self.batch_max, self.boundary_ns)
        return take(state, now, oldest, self.batch_max, self.boundary_ns, self.drop)


def oldest(queues: Sequence[Queue]) -> Queue:
    """Returns the queue whose head arrived first."""
    return min(queues, key=lambda queue: queue[1][0])
