"""Runs what is due first and drops what can no longer be in time."""

from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import NEVER, Action, Task, Time
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.batching import next_action


@dataclass
class EarliestDeadlineFirst:
    """Runs the head with the earliest deadline, in the largest batch that all heads allow.

    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    batch_max: int = 8
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="Liu and Layland, Scheduling Algorithms for Multiprogramming in a Hard-Real-Time Environment, JACM 1973",
        sources={
            "batch_max": "ours: larger batches gain little more for a classifier of crops",
            "boundary_ms": "ours: what a boundary between two stages may cost",
        },
        deviations=(
            "runs are not preempted: a lane cannot resume work that it interrupted",
            "the head is batched with as many tasks as its deadline, and those of the other heads, allow",
            "a head that can no longer be in time is dropped: under overload the paper's rule is late with everything",
        ),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        deadline_ns = NEVER if task.deadline_ns is None else task.deadline_ns
        return (deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        return next_action(state, now, self.batch_max, self.boundary_ns)
