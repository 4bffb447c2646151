"""Implements Symphony's WindowDrop: drops tasks so that the batch of the others is large. A pure function."""

from collections.abc import Sequence

from edge.core.events import Task, Time
from edge.core.state import Lane, State
from edge.policies.blocks.feasibility import finish_by_ns, largest, largest_within


def window(
    state: State, tasks: Sequence[Task], lane: Lane, now: Time, target: int, batch_max: int
) -> tuple[Task, ...] | Task:
    """Returns the batch to run now, at most `batch_max` large, or the first task that has to be dropped before that.

    The oldest tasks are skipped until all remaining ones could run as one batch. Skipped tasks return if they can wait
    for a batch of `target`, or of as many as remain. The others are lost.

    `tasks`: tasks of one queue, by deadline; at least one.
    `target`: batch size to aim at.
    """
    digest, waiting = tasks[0].chain[tasks[0].at], len(tasks)

    def in_time(at: int, batch: int) -> bool:
        return now + state.duration_ns(digest, batch, lane) <= finish_by_ns(state, tasks[at], lane)

    fitting = (at for at in range(waiting) if in_time(at, largest(state, digest, min(waiting - at, batch_max))))
    left = next(fitting, waiting)
    size = largest(state, digest, min(target, waiting - left, batch_max))
    if left == waiting or next((at for at in range(left) if in_time(at, size)), left) > 0:
        return tasks[0]
    left_ns = finish_by_ns(state, tasks[0], lane) - now
    return tuple(tasks[: max(size, largest_within(state, digest, lane, min(waiting, batch_max), left_ns))])
