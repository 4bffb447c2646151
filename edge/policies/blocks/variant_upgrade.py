"""As accurate as nobody minds: a batch goes a better way where that costs no other task its deadline.

SuperServe (NSDI 2025) chooses the variant by the first deadline alone; here everybody who waits is asked.
"""

from collections.abc import Sequence

from edge.core.events import Task, Time
from edge.core.state import State
from edge.policies.blocks.queue_view import QueueView
from edge.policies.blocks.variant_options import Offer, alike


def quickest(state: State, ways: Sequence[Offer]) -> Offer:
    """What a queue is planned with: what it needs at least."""
    return ways[0] if len(ways) == 1 else min(ways, key=lambda way: way.duration_ns(state, 1))


def upgraded(
    state: State, ways: Sequence[Offer], tasks: Sequence[Task], chosen: QueueView, lines: Sequence[QueueView], now: Time
) -> Offer:
    """The most accurate way for this batch that is in time and takes from no queue more than the quickest way does.

    `ways`: the most accurate first. `chosen`: the batch's queue, of which `tasks` are a part.
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
    """May all of them go this way, as one batch?"""
    together = not way.variant or all(alike(task, tasks[0]) for task in tasks)
    return together and len(tasks) in state.stages[way.stage].batches


def rest(chosen: QueueView, tasks: Sequence[Task], end: Time) -> list[QueueView]:
    """Who waits behind the batch in its own queue, as they will see it at its end."""
    last = tasks[-1].id
    at = next(place for place, entry in enumerate(chosen.queue) if entry[1] == last) + 1
    if at == len(chosen.queue):
        return []
    behind = QueueView(chosen.digest, chosen.queue[at:], chosen.sizes, chosen.durations_ns, chosen.tail_ns)
    behind.look(end)
    return [behind]
