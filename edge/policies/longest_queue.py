"""Serves the longest queue first: large batches, at the expense of models with little demand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Action, Task, Time
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.feasibility import Drop
from edge.policies.blocks.greedy import Queue, take


@dataclass
class LongestQueue:
    """Runs the queue in which most tasks wait.

    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    `drop`: which tasks are dropped; "never" runs late tasks too and answers them late.
    """

    batch_max: int = 8
    boundary_ms: float = 2.0
    drop: Drop = "never"

    about: ClassVar[About] = About(
        paper="Tassiulas and Ephremides, IEEE Transactions on Information Theory, 1993: longest connected queue",
        sources={
            "batch_max": "ours: a cap on memory, where the stage accepts larger batches",
            "boundary_ms": "ours: what a boundary between two stages may cost",
            "drop": "the baseline of the literature, which knows no deadlines",
        },
        deviations=("serves a batch where the paper's server takes one task", "a tie goes to the older head"),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.arrived_ns, -task.priority)

    def decide(self, state: State, now: Time) -> Action | None:
        return take(state, now, longest, self.batch_max, self.boundary_ns, self.drop)


def longest(queues: Sequence[Queue]) -> Queue:
    """Returns the longest queue; of equal ones the one whose head arrived first."""
    return min(queues, key=lambda queue: (-len(queue[1]), queue[1][0]))
