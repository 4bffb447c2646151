"""Chooses the batch for an idle lane: which task goes first, with which others, through how many stages."""

from collections.abc import Sequence

from edge.core.events import NEVER, Action, Reply, Run, Task, Time, WakeAt
from edge.core.queues import Entry
from edge.core.state import Lane, State


def nearby(state: State) -> list[Lane]:
    """Returns the lanes of this box, or all lanes where there are only remote ones."""
    lanes = [*state.lanes.values()]
    for lane in lanes:
        if lane.traits.remote:
            return [lane for lane in lanes if not lane.traits.remote] or lanes
    return lanes


def next_action(state: State, now: Time, batch_max: int, boundary_ns: int) -> Action | None:
    """Drops a head that will miss its deadline, else runs the first head, else asks to be woken when a head must go."""
    idle = [lane for lane in state.lanes.values() if lane.running is None]
    first: Entry | None = None
    first_lane: Lane | None = None
    wake_ns = NEVER
    for digest, queue in state.queues.items():
        entry = queue[0]
        lane = holder(idle, digest)
        latest_ns = latest_start_ns(state, entry[2], lane)
        if latest_ns < now and not worth_a_try(state, entry[2], lane, now):
            return Reply(entry[2].request, "late", (entry[2].id,))
        wake_ns = min(wake_ns, max(now, latest_ns) + 1)
        if lane is not None and (first is None or entry < first):
            first, first_lane = entry, lane
    if first is not None and first_lane is not None:
        return batched(state, now, first[2], first_lane, batch_max, boundary_ns)
    return WakeAt(wake_ns) if wake_ns < state.wake_ns else None


def holder(lanes: Sequence[Lane], digest: str) -> Lane | None:
    """Returns the first of these lanes on which the stage is loaded, or None."""
    for lane in lanes:
        if digest in lane.residency.resident:
            return lane
    return None


def latest_start_ns(state: State, task: Task, lane: Lane | None) -> Time:
    """Returns the latest time at which the task can start and meet its deadline by estimate; NEVER without a deadline.

    `lane`: the lane that it would run on; None: the quickest one.
    """
    if task.deadline_ns is None:
        return NEVER
    if lane is not None:
        return task.deadline_ns - state.remaining_ns(task, lane)
    lanes = state.lanes.values()
    return task.deadline_ns - min((state.remaining_ns(task, lane) for lane in lanes), default=0)


def worth_a_try(state: State, task: Task, lane: Lane | None, now: Time) -> bool:
    """Returns whether to run a task that is late by estimate: only if nothing else waits and a lane is idle.

    Otherwise an estimate that is too high would never be corrected, and everything would be dropped for ever.
    """
    assert task.deadline_ns is not None
    alone = len(state.queues) == 1 and len(state.queues[task.chain[task.at]]) == 1
    return lane is not None and alone and now < task.deadline_ns


def batched(state: State, now: Time, head: Task, lane: Lane, batch_max: int, boundary_ns: int) -> Run:
    """Returns the largest batch with which the head and the heads of the other queues are still in time."""
    digest = head.chain[head.at]
    queue = state.queues[digest]
    size = 1
    if len(queue) > 1 and batch_max > 1 and not head.attempts:
        until_ns = slack_end_ns(state, head, lane)
        for batch in state.stages[digest].batches:
            if batch > min(len(queue), batch_max):
                break
            if batch > size and now + state.duration_ns(digest, batch, lane) <= until_ns:
                size = batch
    tasks = together(queue, size)
    return Run(0, lane.name, run_of_stages(state, tasks, lane, boundary_ns), tasks)


def slack_end_ns(state: State, head: Task, lane: Lane) -> Time:
    """Returns when the head's stage must be over for all heads to meet their deadlines.

    A head that is lost already does not constrain the others.
    """
    ends = NEVER
    for digest, queue in state.queues.items():
        task = queue[0][2]
        latest_ns = latest_start_ns(state, task, lane)
        if task is head:
            latest_ns += state.duration_ns(digest, 1, lane)
        ends = min(ends, latest_ns)
    return ends


def together(queue: Sequence[Entry], size: int) -> tuple[Task, ...]:
    """Returns the first `size` tasks; only the head if one of them has failed before, since such a task runs alone."""
    tasks = tuple([entry[2] for entry in queue[:size]])
    return tasks[:1] if any(task.attempts for task in tasks) else tasks


def run_of_stages(state: State, tasks: Sequence[Task], lane: Lane, boundary_ns: int) -> tuple[str, ...]:
    """Returns the stages to run back to back, at least the next one.

    A following stage is included while all tasks share it, it is loaded, accepts the batch, and takes less time than
    `boundary_ns`, the cost of a boundary between two runs.
    """
    chain, at, batch = tasks[0].chain, tasks[0].at, len(tasks)
    end = at + 1
    while (
        end < len(chain)
        and chain[end] in lane.residency.resident
        and batch in state.stages[chain[end]].batches
        and state.duration_ns(chain[end], batch, lane) < boundary_ns
        and all(task.chain[at : end + 1] == chain[at : end + 1] for task in tasks)
    ):
        end += 1
    return chain[at:end]
