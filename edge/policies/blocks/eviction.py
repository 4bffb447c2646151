"""What a lane may forget, the least missed first."""

from collections.abc import Iterator

from edge.core.state import Entry, Lane, State

# How much a load may push aside: each level includes the ones before.
UNUSED, BACKGROUND, IDLE, LATER = range(4)


def expected(state: State) -> Iterator[str]:
    """Stages of the models that the plan wants in memory before anybody asks."""
    for name in state.plan.preload:
        model = state.models.get(name)
        if model is not None and model.serving is not None:
            yield from model.serving.stages


def behind(state: State, lane: Lane, digest: str) -> bool:
    """Resource-preserving: a version that has to leave is not loaded again, and the next one not while it is on this
    lane or somebody still walks it.
    """
    if digest in state.leaving:
        return True
    there = state.in_flight().union(lane.residency.resident)
    for model in state.models.values():
        if model.serving is not None and digest in model.serving.stages and not model.leaving.isdisjoint(there):
            return True
    return False


def victims(state: State, lane: Lane, level: int, entry: Entry | None) -> Iterator[str]:
    """Stages that may go, the least missed first, within one level the least recently used."""
    running = lane.running.stages if lane.running else ()
    flying = state.in_flight()
    for wanted_level in range(level + 1):
        for digest in lane.residency.resident:
            if digest not in running and level_of(state, digest, flying, entry) == wanted_level:
                yield digest


def level_of(state: State, digest: str, flying: set[str], entry: Entry | None) -> int:
    """How much it would be missed. Beyond LATER: by a task that goes before the one that wants its place."""
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
