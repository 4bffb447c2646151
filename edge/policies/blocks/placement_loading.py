"""Loads on each lane what the plan places there, in the place of what it does not; all functions are pure."""

from collections.abc import Iterator

from edge.core.events import Action, Evict, Load
from edge.core.state import Lane, State


def place(state: State) -> Action | None:
    """Returns the next load, or an eviction that makes room for one; None if nothing has to or can be done.

    A stage that a task waits for is not evicted for a plan; nor is one that runs or belongs to a pending variant.
    """
    for lane in state.lanes.values():
        if lane.loading is None and lane.name in state.plan.placement:
            for digest in absent(state, lane):
                stage = state.stages[digest]
                if lane.residency.fits(stage):
                    return Load(lane.name, digest)
                if chosen := lane.residency.victims(stage, strangers(state, lane)):
                    return Evict(lane.name, chosen[0])
    return None


def absent(state: State, lane: Lane) -> Iterator[str]:
    """Yields the stages that belong on this lane and are not there."""
    for digest in planned(state, lane):
        if not lane.residency.holds(digest) and lane.can_hold(digest, state.stages[digest]):
            yield digest


def planned(state: State, lane: Lane) -> list[str]:
    """Returns the stages of the serving variants that the plan places on this lane."""
    names = (name for name in state.plan.placement.get(lane.name, ()) if name in state.models)
    serving = [state.models[name].serving for name in names]
    return [digest for variant in serving if variant is not None for digest in variant.stages]


def strangers(state: State, lane: Lane) -> Iterator[str]:
    """Yields the stages that may be evicted from this lane, the least recently used first."""
    kept = {*planned(state, lane), *state.pending, *(lane.running.stages if lane.running else ())}
    for digest in lane.residency.resident:
        if digest not in kept and digest not in state.queues:
            yield digest
