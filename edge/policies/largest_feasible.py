"""Runs the largest batch that is still in time, whichever model it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from edge.core.events import NEVER, Action, Task, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.batching import latest_start_ns, together
from edge.policies.blocks.feasibility import idle, largest_feasible, run, shed, shed_ns, wake
from edge.policies.blocks.lane_assignment import served_by
from edge.policies.blocks.placement_loading import place


class BatchCandidate(NamedTuple):
    """Describes what a lane would run; compared by size, then by how soon it has to start."""

    size: int
    hurry_ns: Time  # the head's latest start, negated so that the largest candidate is the most urgent
    digest: str
    tasks: tuple[Task, ...]


@dataclass
class LargestFeasible:
    """Runs the largest feasible batch; of equal ones the one that has to start first.

    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    batch_max: int = 64
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="SHEPHERD (Zhang et al., NSDI 2023): FLEX, without its preemption",
        sources={
            "batch_max": "ours: a cap on memory, where the stage accepts larger batches",
            "boundary_ms": "ours: what a boundary between two stages may cost",
        },
        deviations=("a run is never stopped",),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (NEVER if task.deadline_ns is None else task.deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops hopeless heads, else runs the best candidate, else loads by plan, else sleeps."""
        if reply := shed(state, now, "hopeless"):
            return reply
        for lane in idle(state):
            if (best := self.candidate(state, now, lane)) is not None:
                return run(state, lane, best.tasks, self.boundary_ns)
        return (place(state) if state.plan.placement else None) or wake(state, shed_ns(state, "hopeless"))

    def queues(self, state: State, lane: Lane) -> list[tuple[str, list[Entry]]]:
        """Returns the queues that may run on this lane by stage digest, none of them empty."""
        return served_by(state, lane)

    def candidate(self, state: State, now: Time, lane: Lane) -> BatchCandidate | None:
        """Returns the best batch if this lane started now; None if it has nothing to do."""
        found = [self._first(state, now, lane, digest, queue) for digest, queue in self.queues(state, lane)]
        return max(found, default=None)

    def _first(self, state: State, now: Time, lane: Lane, digest: str, queue: Sequence[Entry]) -> BatchCandidate:
        """Returns the candidate of one queue; at least its head, which `shed` has found worth running."""
        tasks = together(queue, max(1, largest_feasible(state, queue, lane, now, self.batch_max)))
        return BatchCandidate(len(tasks), -latest_start_ns(state, queue[0][2], lane), digest, tasks)
