"""Runs what waits as soon as a lane is free: the frame of the plain baselines, which differ in their queue."""

from collections.abc import Callable, Sequence

from edge.core.events import Action, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import Drop, expired, give_up, idle, largest, loaded, run, shed, shed_ns, wake

Queue = tuple[str, Sequence[Entry]]  # stage digest, tasks that wait for it


def take(
    state: State, now: Time, choose: Callable[[Sequence[Queue]], Queue], batch_max: int, boundary_ns: int, drop: Drop
) -> Action | None:
    """Drops what `drop` selects, then runs the queue that `choose` selects on the first lane that is idle.

    `choose`: selects one of the queues whose stage is loaded on the lane.
    `batch_max`: largest number of tasks in the batch.
    """
    if reply := shed(state, now, drop):
        return reply
    for lane in idle(state):
        if queues := loaded(state, lane):
            return batch_of(state, now, lane, choose(queues), batch_max, boundary_ns, drop)
    return wake(state, shed_ns(state, drop))


def batch_of(
    state: State, now: Time, lane: Lane, chosen: Queue, batch_max: int, boundary_ns: int, drop: Drop
) -> Action:
    """Returns the front of the queue as one batch; a task of it that has expired behind the head is dropped first."""
    digest, queue = chosen
    tasks = together(queue, largest(state, digest, min(len(queue), batch_max)))
    late = next((task for task in tasks if expired(task, now)), None) if drop != "never" else None
    return run(state, lane, tasks, boundary_ns) if late is None else give_up(state, late)
