"""What dispatchers ask of a queue: which batch still makes it, who is lost, when to look again. Pure functions.

Times are estimates of `state.estimator`, its margin included. A task of a chain needs the whole rest of the chain: its
next stage as part of a batch, the stages after that alone.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from edge.core.events import NEVER, Outcome, Reply, Run, Task, Time, WakeAt
from edge.core.state import Entry, Lane, State
from edge.policies.blocks.batching import latest_start_ns, run_of_stages, worth_a_try

# Whom a policy gives up: nobody, so that late work is run and answered late; whose deadline has passed; or who cannot
# make it any more by estimate.
Drop = Literal["never", "expired", "hopeless"]

# ---- lanes and queues ----------------------------------------------------------------------------------------------


def idle(state: State) -> list[Lane]:
    """Lanes that may be given work, in the order in which they came up."""
    return [lane for lane in state.lanes.values() if lane.running is None]


def loaded(state: State, lane: Lane) -> list[tuple[str, list[Entry]]]:
    """Queues, by stage digest, whose stage is in this lane's memory. Their order means nothing: break ties yourself."""
    resident = lane.residency.resident
    return [(digest, queue) for digest, queue in state.queues.items() if digest in resident]


# ---- how long is left ----------------------------------------------------------------------------------------------


def tail_ns(state: State, task: Task, lane: Lane) -> Time:
    """What its chain takes after the next stage, alone; 0 at the last stage."""
    after = task.chain[task.at + 1 :]
    return sum([state.duration_ns(digest, 1, lane) for digest in after]) if after else 0


def finish_by_ns(state: State, task: Task, lane: Lane) -> Time:
    """When its next stage has to be over on this lane, so that the rest of the chain still makes the deadline."""
    return NEVER if task.deadline_ns is None else task.deadline_ns - tail_ns(state, task, lane)


def expired(task: Task, now: Time) -> bool:
    return task.deadline_ns is not None and task.deadline_ns < now


def lost(state: State, task: Task, lane: Lane | None, now: Time) -> bool:
    """It misses its deadline even if it begins at once and alone, here or (None) on the quickest lane."""
    return latest_start_ns(state, task, lane) < now


# ---- batches -------------------------------------------------------------------------------------------------------


def sizes(state: State, digest: str, most: int) -> Sequence[int]:
    """Batches that the stage accepts, up to `most`; ascending. A batch of one always is."""
    batches = state.stages[digest].batches
    return batches[: max(1, bisect_right(batches, most))]


def largest(state: State, digest: str, most: int) -> int:
    """The largest accepted batch up to `most`; at least 1."""
    return sizes(state, digest, most)[-1]


def largest_within(state: State, digest: str, lane: Lane, most: int, time_ns: Time) -> int:
    """The largest accepted batch up to `most` that takes at most `time_ns` on this lane; 0: not even one does.

    Found by halving, since durations grow with the batch. Where a profile does not, the answer is still one that fits.
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
    """How many from the front may run as one batch, begun at `now`, and its head still be in time; 0: not even alone.

    In a queue in the order of deadlines the head is the tightest, so all of them are. A head that has failed before
    goes alone.
    """
    head = queue[0][2]
    most = 1 if head.attempts else min(len(queue), batch_max)
    return largest_within(state, head.chain[head.at], lane, most, finish_by_ns(state, head, lane) - now)


# ---- whom to give up, and when to look again -----------------------------------------------------------------------


def give_up(state: State, task: Task, outcome: Outcome = "late", detail: str = "") -> Reply:
    """Returns the reply that gives up a task of an open request."""
    return Reply(task.request, outcome, (task.id,), detail)


def shed(state: State, now: Time, drop: Drop) -> Reply | None:
    """Give up the first head (of any queue) that `drop` says to; called again it comes to the next."""
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
    """When `shed`, which has nothing to do now, will have something, if nothing else happens."""
    heads = [queue[0][2] for queue in state.queues.values()] if drop != "never" else []
    return min((given_up_ns(state, task, drop) for task in heads if task.deadline_ns is not None), default=NEVER)


def given_up_ns(state: State, task: Task, drop: Drop) -> Time:
    """The first moment at which this head is given up: one that is lost and still here gets its whole time."""
    assert task.deadline_ns is not None
    latest_ns = latest_start_ns(state, task, None) if drop == "hopeless" else task.deadline_ns
    return (task.deadline_ns if latest_ns < state.now else latest_ns) + 1


def wake(state: State, time_ns: Time) -> WakeAt | None:
    """Be woken at `time_ns`; nothing where that is over, or the world wakes before it anyway."""
    return WakeAt(time_ns) if state.now < time_ns < state.wake_ns else None


# ---- the order itself ----------------------------------------------------------------------------------------------


def run(state: State, lane: Lane, tasks: tuple[Task, ...], boundary_ns: int = 0) -> Run:
    """These tasks as one batch: their next stage, and the ones after it that are shorter than `boundary_ns`."""
    return Run(0, lane.name, run_of_stages(state, tasks, lane, boundary_ns), tasks)
