"""Run what came first; give up on what can no longer make it, or on nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Action, Task, Time
from edge.core.interfaces import About
from edge.core.state import State
from edge.policies.blocks.batching import next_action
from edge.policies.blocks.feasibility import Drop
from edge.policies.blocks.greedy import Queue, take


@dataclass
class Fifo:
    """`batch_max`: tasks in one batch. `boundary_ms`: a following stage that is shorter than this is run along.

    `drop`: whom it gives up. "hopeless" also keeps a batch as small as its head needs it. With "expired" and "never" it
    knows no durations: a batch is what waits, up to `batch_max`; "never" runs what is late too, and answers it late.
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
        deviations=("whoever waits for the same stage as the first goes along with it",),
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
    return min(queues, key=lambda queue: queue[1][0])
