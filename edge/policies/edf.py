"""Run what is due first; give up on what can no longer make it."""

from dataclasses import dataclass

from edge.events import NEVER, Action, Task, Time
from edge.policies.batching import next_action
from edge.state import State


@dataclass
class EarliestDeadlineFirst:
    """`batch_max`: tasks in one batch. `boundary_ms`: a following stage that is shorter than this is run along."""

    batch_max: int = 8
    boundary_ms: float = 2.0

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        deadline_ns = NEVER if task.deadline_ns is None else task.deadline_ns
        return (deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        return next_action(state, now, self.batch_max, self.boundary_ns)
