"""Ranks the stages that a lane may evict, the least needed first."""

from collections.abc import Iterator

from edge.core.queues import Entry
from edge.core.state import Lane, State

# How much a load may push aside: each level includes the ones before.
UNUSED, BACKGROUND, IDLE, LATER = range(4)


def expected(state: State) -> Iterator[str]:
    """Yields the stages of the models that `plan.preload` wants in memory before they are asked for."""
    for name in state.plan.preload:
        model = state.models.get(name)
        if model is not None and model.serving is not None:
            yield from model.serving.stages


def behind(state: State, lane: Lane, digest: str) -> bool:
    """Returns whether loading this stage must wait, because a former version of its model has to leave first.

    That is so for a stage that has to leave itself, and for the next version while the former one is on this lane or an
    unfinished task still needs it (transition "resource").
    """
    if digest in state.leaving:
        return True
    there = state.in_flight().union(lane.residency.resident)
    for model in state.models.values():
        if model.serving is not None and digest in model.serving.stages and not model.leaving.isdisjoint(there):
            return True
    return False


def victims(state: State, lane: Lane, level: int, entry: Entry | None) -> Iterator[str]:
    """Yields the stages that may be evicted up to `level`, the least needed first, then by least recent use.

    `entry`: the waiting task that needs the room; None: no task needs it.
    """
    running = lane.running.stages if lane.running else ()
    flying = state.in_flight()
    for wanted_level in range(level + 1):
        for digest in lane.residency.resident:
            if digest not in running and level_of(state, digest, flying, entry) == wanted_level:
                yield digest


def level_of(state: State, digest: str, flying: set[str], entry: Entry | None) -> int:
    """Returns how much the stage is needed: UNUSED, BACKGROUND, IDLE, LATER, or LATER + 1 where it must not be evicted.

    A stage with waiting tasks is LATER if they all go after `entry`, and must not be evicted otherwise.
    """
    queue = state.queues.get(digest)
    if queue is not None:
        return LATER if entry is not None and entry < queue[0] else LATER + 1
    if digest in state.pending:
        return LATER  # evicting one stage of a pending variant for another would never end
    if state.plan.preload and digest in expected(state):
        return LATER
    if state.needed.get(digest):
        return IDLE
    return BACKGROUND if digest in state.needed or digest in flying else UNUSED
