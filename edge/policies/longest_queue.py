"""The queue in which most wait goes first: large batches, and little for whoever is asked for seldom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Action, Task, Time
from edge.core.interfaces import About
from edge.core.state import State
from edge.policies.blocks.feasibility import Drop
from edge.policies.blocks.greedy import Queue, take


@dataclass
class LongestQueue:
    """`batch_max`: tasks in one batch. `boundary_ms`: a following stage that is shorter than this is run along.
    `drop`: whom it gives up; "never" runs what is late too, and answers it late.
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
        deviations=("serves a batch where the paper's server takes one", "equal lengths: whose head came first"),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.arrived_ns, -task.priority)

    def decide(self, state: State, now: Time) -> Action | None:
        return take(state, now, longest, self.batch_max, self.boundary_ns, self.drop)


def longest(queues: Sequence[Queue]) -> Queue:
    return min(queues, key=lambda queue: (-len(queue[1]), queue[1][0]))
