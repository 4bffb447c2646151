"""Answers what dispatchers ask of a queue: which batch is still in time, which tasks are lost, when to look again.

All functions are pure. Times are estimates of `state.estimator`, its margin included. A task needs the whole rest of
its chain: its next stage as part of a batch, and the stages after that alone.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from edge.core.events import NEVER, Outcome, Reply, Run, Task, Time, WakeAt
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.policies.blocks.batching import latest_start_ns, run_of_stages, worth_a_try

# Which tasks a policy drops: "never" drops none, so late work is run and answered late; "expired" those whose deadline
# has passed; "hopeless" those that can no longer meet it by estimate.
Drop = Literal["never", "expired", "hopeless"]

# ---- lanes and queues ----------------------------------------------------------------------------------------------


def idle(state: State) -> list[Lane]:
    """Returns the lanes that may be given work, in the order in which they came up."""
    return [lane for lane in state.lanes.values() if lane.running is None]


def loaded(state: State, lane: Lane) -> list[tuple[str, list[Entry]]]:
    """Returns the queues, by stage digest, whose stage is in this lane's memory; their order is arbitrary."""
    resident = lane.residency.resident
    return [(digest, queue) for digest, queue in state.queues.items() if digest in resident]


# ---- how long is left ----------------------------------------------------------------------------------------------


def tail_ns(state: State, task: Task, lane: Lane) -> Time:
    """Returns how long the task's chain takes after its next stage, in batches of one; 0 at the last stage."""
    after = task.chain[task.at + 1 :]
    return sum([state.duration_ns(digest, 1, lane) for digest in after]) if after else 0


def finish_by_ns(state: State, task: Task, lane: Lane) -> Time:
    """Returns when the next stage must be over on this lane for the chain to meet the deadline; NEVER without one."""
    return NEVER if task.deadline_ns is None else task.deadline_ns - tail_ns(state, task, lane)


def expired(task: Task, now: Time) -> bool:
    """Returns whether the task's deadline has passed; False without a deadline."""
    return task.deadline_ns is not None and task.deadline_ns < now


def lost(state: State, task: Task, lane: Lane | None, now: Time) -> bool:
    """Returns whether the task is late even if it starts now, alone, on this lane or (None) on the quickest."""
    return latest_start_ns(state, task, lane) < now


# ---- batches -------------------------------------------------------------------------------------------------------


def sizes(state: State, digest: str, most: int) -> Sequence[int]:
    """Returns the batch sizes up to `most` that the stage accepts, ascending; 1 is always among them."""
    batches = state.stages[digest].batches
    return batches[: max(1, bisect_right(batches, most))]


def largest(state: State, digest: str, most: int) -> int:
    """Returns the largest accepted batch size up to `most`, at least 1."""
    return sizes(state, digest, most)[-1]


def largest_within(state: State, digest: str, lane: Lane, most: int, time_ns: Time) -> int:
    """Returns the largest accepted batch up to `most` that takes at most `time_ns` here; 0 if not even one task does.

    Uses binary search, since durations grow with the batch. If a profile does not, the result still fits but may not be
    the largest.
    """
    accepted = sizes(state, digest, most)
    low, high = 0, len(accepted)
    while low < high:
        middle = (low + high) // 2
        if state.duration_ns(digest, accepted[middle], lane) <= time_ns:
            low = middle + 1
        else:
            high = middle
    return accepted[low - 1] if low else 0


def largest_feasible(state: State, queue: Sequence[Entry], lane: Lane, now: Time, batch_max: int) -> int:
    """Returns how many tasks from the front can start as one batch now with the head in time; 0: not even one.

    In a queue ordered by deadline the head is the tightest, so all of them are in time. A head that failed before runs
    alone.
    """
    head = queue[0][2]
    most = 1 if head.attempts else min(len(queue), batch_max)
    return largest_within(state, head.chain[head.at], lane, most, finish_by_ns(state, head, lane) - now)


# ---- what to drop, and when to look again ---------------------------------------------------------------------------


def give_up(state: State, task: Task, outcome: Outcome = "late", detail: str = "") -> Reply:
    """Returns the reply that gives up a task of an open request."""
    return Reply(task.request, outcome, (task.id,), detail)


def shed(state: State, now: Time, drop: Drop) -> Reply | None:
    """Returns the reply that drops the first head, of any queue, that `drop` selects; None if there is none."""
    if drop == "never":
        return None
    lanes = idle(state)
    for digest, queue in state.queues.items():
        task = queue[0][2]
        if expired(task, now):
            return give_up(state, task)
        if drop == "hopeless":
            lane = next((lane for lane in lanes if digest in lane.residency.resident), None)
            if lost(state, task, lane, now) and not worth_a_try(state, task, lane, now):
                return give_up(state, task)
    return None


def shed_ns(state: State, drop: Drop) -> Time:
    """Returns when `shed`, which returns None now, will drop something if nothing else happens; else NEVER."""
    heads = state.queues.heads() if drop != "never" else []
    return min((given_up_ns(state, task, drop) for task in heads if task.deadline_ns is not None), default=NEVER)


def given_up_ns(state: State, task: Task, drop: Drop) -> Time:
    """Returns when this head is dropped first; one that is lost but not dropped keeps its whole deadline."""
    assert task.deadline_ns is not None
    latest_ns = latest_start_ns(state, task, None) if drop == "hopeless" else task.deadline_ns
    return (task.deadline_ns if latest_ns < state.now else latest_ns) + 1


def wake(state: State, time_ns: Time) -> WakeAt | None:
    """Returns the request to be woken at `time_ns`; None if that has passed or the world wakes up before it anyway."""
    return WakeAt(time_ns) if state.now < time_ns < state.wake_ns else None


# ---- the order itself ----------------------------------------------------------------------------------------------


def run(state: State, lane: Lane, tasks: tuple[Task, ...], boundary_ns: int = 0) -> Run:
    """Returns the run of these tasks: their next stage, and following ones that are shorter than `boundary_ns`."""
    return Run(0, lane.name, run_of_stages(state, tasks, lane, boundary_ns), tasks)
