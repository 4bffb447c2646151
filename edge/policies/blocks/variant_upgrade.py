"""Upgrades a batch to a more accurate variant where that costs no other task its deadline.

SuperServe (NSDI 2025) chooses the variant by the first deadline alone; here all waiting queues are taken into account.
"""

from collections.abc import Sequence

from edge.core.events import Task, Time
from edge.core.state import State
from edge.policies.blocks.queue_view import QueueView
from edge.policies.blocks.variant_options import Offer, alike


def quickest(state: State, ways: Sequence[Offer]) -> Offer:
    """Returns the quickest way for a batch of one: what a queue is planned with, since it needs at least that."""
    return ways[0] if len(ways) == 1 else min(ways, key=lambda way: way.duration_ns(state, 1))


def upgraded(
    state: State, ways: Sequence[Offer], tasks: Sequence[Task], chosen: QueueView, lines: Sequence[QueueView], now: Time
) -> Offer:
    """Returns the most accurate way for this batch that is in time and costs no queue more than the quickest way does.

    `ways`: the most accurate first.
    `tasks`: the batch, a part of the queue of `chosen`.
    `chosen`: view of the batch's queue.
    `lines`: views of all queues of the lane.
    """
    quick = quickest(state, ways)
    end = now + quick.duration_ns(state, len(tasks))
    others = [line for line in lines if line is not chosen] + rest(chosen, tasks, end)
    for way in ways:
        if way is quick:
            break
        later = now + way.duration_ns(state, len(tasks))
        in_time = later <= (tasks[0].deadline_ns or 0) and fits(state, way, tasks)
        if in_time and all(later <= line.until_ns or line.lost(later) <= line.lost(end) for line in others):
            return way
    return quick


def fits(state: State, way: Offer, tasks: Sequence[Task]) -> bool:
    """Returns whether all of these tasks may go this way as one batch."""
    together = not way.variant or all(alike(task, tasks[0]) for task in tasks)
    return together and len(tasks) in state.stages[way.stage].batches


def rest(chosen: QueueView, tasks: Sequence[Task], end: Time) -> list[QueueView]:
    """Returns a view of what waits behind the batch in its own queue, as of its end; empty if nothing does."""
    last = tasks[-1].id
    at = next(place for place, entry in enumerate(chosen.queue) if entry[1] == last) + 1
    if at == len(chosen.queue):
        return []
    behind = QueueView(chosen.digest, chosen.queue[at:], chosen.sizes, chosen.durations_ns, chosen.tail_ns)
    behind.look(end)
    return [behind]
