"""Run what is due first; give up on what can no longer make it."""

from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import NEVER, Action, Task, Time
from edge.core.interfaces import About
from edge.core.state import State
from edge.policies.blocks.batching import next_action


@dataclass
class EarliestDeadlineFirst:
    """`batch_max`: tasks in one batch. `boundary_ms`: a following stage that is shorter than this is run along."""

    batch_max: int = 8
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="Liu and Layland, Scheduling Algorithms for Multiprogramming in a Hard-Real-Time Environment, JACM 1973",
        sources={
            "batch_max": "ours: what a classifier of crops gains from batching is gained by then",
            "boundary_ms": "ours: what a boundary between two stages may cost",
        },
        deviations=(
            "runs are not preempted: a lane has no way to go on later with what it put aside",
            "the head takes along whom its deadline, and those of the other heads, allow",
            "a head that cannot make it any more is dropped: under overload the paper's rule is late with everybody",
        ),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        deadline_ns = NEVER if task.deadline_ns is None else task.deadline_ns
        return (deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        return next_action(state, now, self.batch_max, self.boundary_ns)
