"""Loads the stages with the largest unmet demand first, as Clockwork's LOAD and EVICT do.

The demand of a task is the share of a lane that serving it within its SLO takes: duration / SLO. A lane serves one
second per second, divided among the stages that it holds in proportion to their demand; the rest is unmet.
"""

from collections.abc import Iterator, Mapping

from edge.core.events import Action, Evict, Load
from edge.core.state import Lane, State
from edge.policies.blocks.eviction import BACKGROUND, LATER, behind, victims


def load(state: State) -> Action | None:
    """Returns a load, or an eviction that makes room for one; None where demand is met as far as possible.

    A stage that is on no lane displaces idle stages first, then stages with less demand, the least recently used first.
    A further copy takes only room that nothing needs.
    """
    lanes = [lane for lane in state.lanes.values() if lane.loading is None]
    if all(state.queues.keys() <= lane.residency.resident.keys() for lane in lanes):
        return None
    demands = {digest: demand(state, digest) for digest in state.queues}
    unmet = unmet_demands(state, demands)
    for digest in sorted(unmet, key=lambda digest: (-unmet[digest], state.queues[digest][0][:2])):
        for lane in lanes:
            there = digest in lane.residency.resident
            if unmet[digest] > 0 and not there and (action := begun(state, lane, digest, demands)):
                return action
    return None


def demand(state: State, digest: str) -> float:
    """Returns the number of lanes that the tasks waiting for this stage would keep busy, on the quickest lane.

    All tasks are taken to have the SLO of the first.
    """
    task = state.queues.head(digest)
    assert task is not None
    assert task.deadline_ns is not None
    quickest_ns = min([state.duration_ns(digest, 1, lane) for lane in state.lanes.values()])
    return len(state.queues[digest]) * quickest_ns / max(1, task.deadline_ns - task.arrived_ns)


def unmet_demands(state: State, demands: Mapping[str, float]) -> dict[str, float]:
    """Returns what remains of each demand after every lane has divided itself among what it holds or is loading."""
    homes = {digest: [lane for lane in state.lanes.values() if has(lane, digest)] for digest in demands}
    asked = dict.fromkeys(state.lanes, 0.0)
    for digest, wanted in demands.items():
        for lane in homes[digest]:
            asked[lane.name] += wanted / len(homes[digest])
    served = {
        digest: sum(wanted / len(homes[digest]) * min(1.0, 1.0 / asked[lane.name]) for lane in homes[digest])
        for digest, wanted in demands.items()
    }
    return {digest: wanted - served[digest] for digest, wanted in demands.items()}


def has(lane: Lane, digest: str) -> bool:
    """Returns whether the lane holds the stage or is loading it."""
    return digest in lane.residency.resident or lane.loading == digest


def begun(state: State, lane: Lane, digest: str, demands: Mapping[str, float]) -> Action | None:
    """Returns the load, or the first eviction for it; None if the stage cannot or must not be loaded here."""
    stage = state.stages[digest]
    if not lane.can_hold(digest, stage) or (state.leaving and behind(state, lane, digest)):
        return None
    if lane.residency.fits(stage):
        return Load(lane.name, digest)
    copy = any(has(other, digest) for other in state.lanes.values())
    may_go = victims(state, lane, BACKGROUND, None) if copy else missed_least(state, lane, digest, demands)
    chosen = lane.residency.victims(stage, may_go)
    return Evict(lane.name, chosen[0]) if chosen else None


def missed_least(state: State, lane: Lane, digest: str, demands: Mapping[str, float]) -> Iterator[str]:
    """Yields stages that may be evicted: first those without waiting tasks, then those with less demand than `digest`.

    Equal demands are ordered by their heads, so that two stages do not displace each other for ever.
    """
    yield from victims(state, lane, LATER, None)
    running = lane.running.stages if lane.running else ()
    for other in lane.residency.resident:
        if other in demands and other not in running and rank(state, demands, other) > rank(state, demands, digest):
            yield other


def rank(state: State, demands: Mapping[str, float], digest: str) -> tuple[float, object]:
    """Returns the sort key of a stage: more demand first, then the older head."""
    return -demands[digest], state.queues[digest][0][:2]
