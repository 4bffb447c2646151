"""Symphony's WindowDrop: whom to give up so that the batch of the others is large. A pure function."""

from collections.abc import Sequence

from edge.core.events import Task, Time
from edge.core.state import Lane, State
from edge.policies.blocks.feasibility import finish_by_ns, largest, largest_within


def window(
    state: State, tasks: Sequence[Task], lane: Lane, now: Time, target: int, batch_max: int
) -> tuple[Task, ...] | Task:
    """The batch to run now, at most `batch_max` large; or, before that, the first task that has to go.

    The oldest tasks are passed over until all that are left could run as one batch. Of those passed over the ones come
    back that can wait for a batch of `target`, or of as many as are left. The others are lost. `tasks`: one queue's, by
    deadline.
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
