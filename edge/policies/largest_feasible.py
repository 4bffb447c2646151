"""Always the largest batch that still makes it, whichever model it is of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from edge.core.events import NEVER, Action, Task, Time
from edge.core.interfaces import About
from edge.core.state import Entry, Lane, State
from edge.policies.blocks.batching import latest_start_ns, together
from edge.policies.blocks.feasibility import idle, largest_feasible, run, shed, shed_ns, wake
from edge.policies.blocks.lane_assignment import served_by
from edge.policies.blocks.placement_loading import place


class BatchCandidate(NamedTuple):
    """What a lane would begin: the largest batch; of equal ones the one that has to begin first."""

    size: int
    hurry_ns: Time  # minus the head's latest start
    digest: str
    tasks: tuple[Task, ...]


@dataclass
class LargestFeasible:
    """`batch_max`: tasks in one batch. `boundary_ms`: a following stage that is shorter than this is run along."""

    batch_max: int = 64
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="SHEPHERD (Zhang et al., NSDI 2023): FLEX, without its preemption",
        sources={
            "batch_max": "ours: a cap on memory, where the stage accepts larger batches",
            "boundary_ms": "ours: what a boundary between two stages may cost",
        },
        deviations=("what has begun is never stopped",),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (NEVER if task.deadline_ns is None else task.deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        if reply := shed(state, now, "hopeless"):
            return reply
        for lane in idle(state):
            if (best := self.candidate(state, now, lane)) is not None:
                return run(state, lane, best.tasks, self.boundary_ns)
        return (place(state) if state.plan.placement else None) or wake(state, shed_ns(state, "hopeless"))

    def queues(self, state: State, lane: Lane) -> list[tuple[str, list[Entry]]]:
        """By stage digest: what may run on this lane, none of them empty."""
        return served_by(state, lane)

    def candidate(self, state: State, now: Time, lane: Lane) -> BatchCandidate | None:
        """The best of this lane if it began now; None where it has nothing to do."""
        found = [self._first(state, now, lane, digest, queue) for digest, queue in self.queues(state, lane)]
        return max(found, default=None)

    def _first(self, state: State, now: Time, lane: Lane, digest: str, queue: Sequence[Entry]) -> BatchCandidate:
        """The only task that waits is let try though it is too late by estimate."""
        tasks = together(queue, max(1, largest_feasible(state, queue, lane, now, self.batch_max)))
        return BatchCandidate(len(tasks), -latest_start_ns(state, queue[0][2], lane), digest, tasks)
