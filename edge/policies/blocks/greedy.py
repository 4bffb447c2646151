"""A free lane takes at once what waits: the frame of the plain baselines, which differ in whom they take first."""

from collections.abc import Callable, Sequence

from edge.core.events import Action, Time
from edge.core.state import Entry, Lane, State
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import Drop, expired, give_up, idle, largest, loaded, run, shed, shed_ns, wake

Queue = tuple[str, Sequence[Entry]]  # stage digest, who waits for it


def take(
    state: State, now: Time, choose: Callable[[Sequence[Queue]], Queue], batch_max: int, boundary_ns: int, drop: Drop
) -> Action | None:
    """As many as wait in the queue that `choose` names, up to `batch_max`, whatever their deadlines say; first those
    are given up whom `drop` names.
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
    """The first of the queue as one batch; where one of them has expired behind the head, it is given up first."""
    digest, queue = chosen
    tasks = together(queue, largest(state, digest, min(len(queue), batch_max)))
    late = next((task for task in tasks if expired(task, now)), None) if drop != "never" else None
    return run(state, lane, tasks, boundary_ns) if late is None else give_up(state, late)
