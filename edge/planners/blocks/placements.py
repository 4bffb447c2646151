"""Searches the placement that serves most requests: grows it model by model, and simulates each candidate."""

from collections import Counter
from collections.abc import Iterator, Sequence

from edge.core.interfaces import Policy
from edge.core.state import Lane, State
from edge.planners.blocks.what_if import Placement, PlacementResult, TaskArrival, simulate

Scored = tuple[Placement, PlacementResult]


def search(state: State, asked: Sequence[TaskArrival], policy: Policy, beam: int) -> Iterator[Placement | None]:
    """Yields None after each simulation and finally the best placement, if any is of use; of equal ones the smallest.

    Placements grow until nothing more fits or no request is missed. Ends without a result if lanes or models disappear
    meanwhile.

    `asked`: tasks to simulate, by arrival.
    `beam`: see `SimulateToPlace`.
    """
    nothing = PlacementResult(0, Counter(each.model for each in asked), {})
    frontier: list[Scored] = [({}, nothing)]
    best = frontier[0]
    while frontier and best[1].good < len(asked):
        tried: list[Scored] = []
        for placement in different(candidate for scored in frontier for candidate in grown(state, scored, beam)):
            if not possible(state, placement):
                return
            tried.append((placement, simulate(state, asked, placement, policy)))
            yield None
        frontier = sorted(tried, key=lambda scored: (-scored[1].good, repr(scored[0])))[: max(1, beam)]
        best = max([best, *frontier[:1]], key=lambda scored: scored[1].good)
    if best[0]:
        yield best[0]


def grown(state: State, scored: Scored, beam: int) -> Iterator[Placement]:
    """Yields the placement grown by one model on one lane: all that fit, or without a beam only the first.

    The model with the most misses and the lane with the least work come first.
    """
    placement, judged = scored
    lanes = sorted(state.lanes.values(), key=lambda lane: (judged.busy_ns.get(lane.name, 0), lane.name))
    models = sorted(judged.missed, key=lambda model: (-judged.missed[model], model))
    for model in models:
        for lane in lanes:
            there = placement.get(lane.name, ())
            if model not in there and fits(state, lane, (*there, model)):
                yield {**placement, lane.name: tuple(sorted((*there, model)))}
                if not beam:
                    return


def different(placements: Iterator[Placement]) -> list[Placement]:
    """Returns each placement once, as two paths may lead to the same one."""
    return [*{repr(sorted(placement.items())): placement for placement in placements}.values()]


def fits(state: State, lane: Lane, models: Sequence[str]) -> bool:
    """Returns whether all models, each of which must be served, fit together into this lane's memory."""
    blobs: dict[str, int] = {}
    for model in models:
        variant = state.models[model].serving if model in state.models else None
        if variant is None:
            return False
        for digest in variant.stages:
            blobs.update(state.stages[digest].blobs)
    return sum(blobs.values()) <= lane.residency.limit_bytes


def possible(state: State, placement: Placement) -> bool:
    """Returns whether all lanes and models of the placement are still there."""
    return all(name in state.lanes and fits(state, state.lanes[name], models) for name, models in placement.items())
