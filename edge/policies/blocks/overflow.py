"""Predicts which tasks will miss their deadline on some lanes, and which of those would meet it on others.

All functions are pure. Both predictions play the queues out as if nothing more arrived: in the order of deadlines, with
batches as large as their first task allows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from edge.core.events import NEVER, Task, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.policies.blocks.feasibility import finish_by_ns, largest_within

Key = tuple[Time, int, int, str]  # deadline, task id, place in its queue, stage: for a heap


@dataclass(frozen=True, slots=True)
class Trip:
    """Describes a batch for a lane that is to begin at `start_ns`."""

    lane: Lane
    start_ns: Time
    tasks: tuple[Task, ...]


def free_ns(state: State, lane: Lane, now: Time) -> Time:
    """Returns when the lane's present work is over by estimate; `now` if it is idle or overdue."""
    run = lane.running
    if run is None:
        return now
    took_ns = sum(state.duration_ns(digest, len(run.tasks), lane) for digest in run.stages)
    return max(now, lane.began_ns + took_ns)


def rest_ns(state: State, task: Task, lane: Lane, batch: int) -> Time:
    """Returns how long all remaining stages of the task take in batches of this size."""
    return sum([state.duration_ns(digest, batch, lane) for digest in task.chain[task.at :]])


def left_behind(state: State, lanes: Sequence[Lane], now: Time, batch_max: int, most: int) -> list[Task]:
    """Returns the tasks, by deadline, that these lanes cannot finish in time, within the first `most` batches."""
    heads = [key_of(queue[0], 0, digest) for digest, queue in state.queues.items()]
    heapify(heads)
    free = {lane.name: free_ns(state, lane, now) for lane in lanes}
    behind: list[Task] = []
    for _ in range(most):
        if not heads:
            break
        _, _, place, digest = heappop(heads)
        queue = state.queues[digest]
        lane = soonest(lanes, free, digest)
        size = 0 if lane is None else fitting(state, queue, place, lane, free[lane.name], batch_max)
        if lane is None or not size:
            behind.append(queue[place][2])
        else:
            free[lane.name] += rest_ns(state, queue[place][2], lane, size)
        following = place + max(1, size)
        if following < len(queue):
            heappush(heads, key_of(queue[following], following, digest))
    return behind


def key_of(entry: Entry, place: int, digest: str) -> Key:
    """Returns the heap key of the entry at this place of its queue."""
    task = entry[2]
    return (NEVER if task.deadline_ns is None else task.deadline_ns, task.id, place, digest)


def soonest(lanes: Sequence[Lane], free: Mapping[str, Time], digest: str) -> Lane | None:
    """Returns the lane that holds the stage and is free first, or None."""
    holding = [lane for lane in lanes if digest in lane.residency.resident]
    return min(holding, key=lambda lane: free[lane.name], default=None)


def fitting(state: State, queue: Sequence[Entry], place: int, lane: Lane, start_ns: Time, batch_max: int) -> int:
    """Returns how many tasks from this place of the queue can start then as one batch, the first in time; 0: none."""
    head = queue[place][2]
    most = 1 if head.attempts else min(len(queue) - place, batch_max)
    return largest_within(state, head.chain[head.at], lane, most, finish_by_ns(state, head, lane) - start_ns)


def trips(
    state: State, behind: Sequence[Task], lanes: Sequence[Lane], now: Time, batch_max: int, most: int
) -> Iterator[Trip]:
    """Yields batches of these tasks in which every task is in time, for the lane that is free first, then for the next.

    `behind`: tasks in the order of deadlines; those that failed before are left out.
    `most`: largest number of tasks in all batches together.
    """
    left = [task for task in behind if not task.attempts]
    free = {lane.name: free_ns(state, lane, now) for lane in lanes}
    while left and most > 0:
        found = [trip for lane in lanes if (trip := largest(state, left, lane, free[lane.name], min(batch_max, most)))]
        if not found:
            return
        trip = min(found, key=lambda trip: (trip.start_ns, -len(trip.tasks)))
        yield trip
        free[trip.lane.name] += rest_ns(state, trip.tasks[0], trip.lane, len(trip.tasks))
        taken = {task.id for task in trip.tasks}
        left = [task for task in left if task.id not in taken]
        most -= len(taken)


def largest(state: State, tasks: Sequence[Task], lane: Lane, start_ns: Time, most: int) -> Trip | None:
    """Returns the batch that saves most of these tasks on this lane, of equal ones the first due; else None."""
    best: Trip | None = None
    stages = dict.fromkeys(task.chain[task.at] for task in tasks)
    for digest in stages:
        if digest not in lane.residency.resident:
            continue
        here = [task for task in tasks if task.chain[task.at] == digest]
        on_time = [task for task in here if start_ns + rest_ns(state, task, lane, 1) <= (task.deadline_ns or NEVER)]
        if not on_time:
            continue
        limit_ns = min(finish_by_ns(state, task, lane) for task in on_time[:most]) - start_ns
        size = largest_within(state, digest, lane, min(len(on_time), most), limit_ns)
        if size and (best is None or size > len(best.tasks)):
            best = Trip(lane, start_ns, tuple(on_time[:size]))
    return best
