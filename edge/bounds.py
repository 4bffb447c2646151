"""What no policy can exceed on a scenario, even one that knows all that will come.

Every request that is answered in time takes its least share of a device (`edge.demand`) inside its window, and lanes
together do no more than so much work at a time. The rest is left out: that batches cannot be interrupted, that not
everyone can be in the best batch, that models have to be loaded, that nobody knows what comes next.
"""

from collections.abc import Callable, Mapping, Sequence
from math import floor

import numpy as np

from edge.demand import Demand, Way
from edge.packing import Floats, jobs_of, most_value
from edge.scenario import Scenario
from porting.variant import Variant

ROUNDING = 1e-3  # requests


def goodput_bound(scenario: Scenario) -> float:
    """Requests that can be answered in time at most; a whole number."""
    return floor(_most(Demand(scenario), lambda variant: 1.0) + ROUNDING)


def weighted_bound(scenario: Scenario) -> float:
    """Sum over requests that are answered in time of their answers' accuracy: at most. See `edge.scores.accuracy`."""
    return _most(Demand(scenario), accuracy_of) + ROUNDING


def accuracy_of(variant: Variant) -> float:
    return 1.0 if variant.accuracy is None else variant.accuracy


def _most(demand: Demand, value: Callable[[Variant], float], weights: Mapping[str, float] | None = None) -> float:
    """`weights`: by app, what its requests count; else 1."""
    columns: list[tuple[Floats, Floats, Floats, Floats]] = []
    for app in demand.apps:
        weight = 1.0 if weights is None else weights[app.name]
        begin, end = app.begin_ns.astype(float), app.end_ns.astype(float)
        for work_ns, density in steps(demand.ways(app, value)):
            needed = work_ns > 0
            columns.append(
                (begin[needed], end[needed], work_ns[needed] / demand.speed, weight * density[needed] * demand.speed)
            )
    if not columns:
        return 0.0
    begin, end, work, density = (np.concatenate(column) for column in zip(*columns, strict=True))
    return most_value(jobs_of(begin, end, work, density))


def steps(ways: Sequence[Way]) -> list[tuple[Floats, Floats]]:
    """More work for more value, each step worth less for its work than the one before: (work, value / work) for each
    request, 0 where there is none. These are the corners of what mixes of the ways are worth, so that taking the steps
    of all requests by density is the best choice of ways as well.
    """
    values = np.array([way.value for way in ways])
    works = np.array([way.work_ns for way in ways])
    spent, gained = np.zeros(works.shape[1]), np.zeros(works.shape[1])
    found = []
    for _ in ways:
        more, better = works - spent, values[:, None] - gained
        useful = np.isfinite(works) & (better > 0) & (more > 0)
        density = np.where(useful, better / np.where(useful, more, 1.0), 0.0)
        best = np.argmax(density, axis=0)
        slope = np.take_along_axis(density, best[None], axis=0)[0]
        step = np.where(slope > 0, np.take_along_axis(np.where(useful, more, 0.0), best[None], axis=0)[0], 0.0)
        if not step.any():
            break
        found.append((step, slope))
        spent, gained = spent + step, np.where(step > 0, values[best], gained)
    return found
