"""Selects the queues that a lane is to serve where the plan assigns models to lanes."""

from edge.core.events import Task
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.policies.blocks.feasibility import loaded


def served_by(state: State, lane: Lane) -> list[tuple[str, list[Entry]]]:
    """Returns the queues, by stage digest, that this lane may run: loaded here and not assigned to another lane.

    A model that the plan places nowhere, or on lanes that are gone or lack its stage, may run on every lane: an
    outdated plan must not keep tasks waiting.
    """
    queues = loaded(state, lane)
    if not state.plan.placement:
        return queues
    return [(digest, queue) for digest, queue in queues if belongs(state, lane, digest, queue[0][2])]


def belongs(state: State, lane: Lane, digest: str, task: Task) -> bool:
    """Returns whether this lane may run the task's stage by the plan."""
    placement = state.plan.placement
    homes = [other for other in state.lanes.values() if task.model in placement.get(other.name, ())]
    return lane in homes or not any(digest in home.residency.resident for home in homes)
