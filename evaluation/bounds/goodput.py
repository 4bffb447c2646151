"""Computes what no policy can exceed on a scenario, even one that knows all requests in advance.

Every request that is answered in time takes its least share of a device (`evaluation.bounds.demand`) inside its window,
and lanes together do no more than so much work at a time. This relaxation ignores that batches cannot be interrupted,
that not every request can be in its best batch, that models have to be loaded, and that a policy does not know the
future.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor

import numpy as np

from evaluation.bounds.demand import Demand, Way
from evaluation.bounds.preemptive_relaxation import Floats, jobs_of, most_value
from evaluation.scenario import Scenario
from porting.variant import Variant

ROUNDING = 1e-3  # requests
ROUNDS = 40  # of the search for weights: each gives a bound, later ones closer ones


def goodput_bound(scenario: Scenario) -> float:
    """Returns how many requests can be answered in time at most: a whole number."""
    return floor(float(GoodputBound(scenario).most().sum()) + ROUNDING)


def weighted_bound(scenario: Scenario) -> float:
    """Returns how large the sum of the accuracies of answers in time can be at most. See `scores.accuracy`."""
    return float(GoodputBound(scenario, accuracy_of).most().sum()) + ROUNDING


def fairest_bound(scenario: Scenario, rounds: int = ROUNDS) -> float:
    """Returns how high the attainment (good / offered, 0..1) of the worst model can be at most; 0.0 without requests.

    It is no more than any weighted mean of the models' attainments; the weights that give the lowest mean are searched
    for in `rounds` rounds (multiplicative weights: Freund and Schapire, Games and Economic Behavior 1999).
    """
    bounds = GoodputBound(scenario)
    if not len(bounds.offered):
        return 0.0
    shares, lowest = np.full(len(bounds.offered), 1 / len(bounds.offered)), 1.0
    for turn in range(1, rounds + 1):
        attainments = bounds.most(shares / bounds.offered) / bounds.offered
        lowest = min(lowest, float(shares @ attainments))
        shares = shares * np.exp(-attainments * 4 / np.sqrt(turn))
        shares = np.maximum(shares, 1e-9) / np.maximum(shares, 1e-9).sum()
    return min(1.0, lowest + 1e-9)


def accuracy_of(variant: Variant) -> float:
    return 1.0 if variant.accuracy is None else variant.accuracy


def one(variant: Variant) -> float:
    return 1.0


@dataclass
class GoodputBound:
    """Computes the bound of each app of a scenario. `value`: what an answer by a variant is worth."""

    scenario: Scenario
    value: Callable[[Variant], float] = one

    @cached_property
    def demand(self) -> Demand:
        return Demand(self.scenario)

    @cached_property
    def offered(self) -> Floats:
        """Counts the requests of each app that can be answered at all."""
        return np.array([len(app.ids) for app in self.demand.apps], float)

    @cached_property
    def steps(self) -> list[tuple[Floats, Floats, Floats, Floats, int]]:
        """Lists begin and end in ns, work in ns on lanes of speed 1, value per ns of it, and the index of the app."""
        found, speed = [], self.demand.speed
        for owner, app in enumerate(self.demand.apps):
            for work_ns, density in steps(self.demand.ways(app, self.value)):
                some = work_ns > 0
                begin, end = app.begin_ns[some].astype(float), app.end_ns[some].astype(float)
                found.append((begin, end, work_ns[some] / speed, density[some] * speed, owner))
        return found

    def most(self, weights: Floats | None = None) -> Floats:
        """Returns, by app, the value of a choice of requests whose weighted value is the highest.

        `weights`: by app, how much its value counts in choosing, None for 1 each; the returned values are not weighted.
        """
        if not self.steps:
            return np.zeros(len(self.offered))
        weights = np.ones(len(self.offered)) if weights is None else weights
        begin, end, work, density = (np.concatenate(column) for column in list(zip(*self.steps, strict=True))[:4])
        owner = np.repeat([step[4] for step in self.steps], [len(step[0]) for step in self.steps])
        value = most_value(jobs_of(begin, end, work, density * weights[owner], owner))
        return np.pad(value, (0, len(weights) - len(value))) / weights


def steps(ways: Sequence[Way]) -> list[tuple[Floats, Floats]]:
    """Returns steps of more work for more value, each worth less for its work than the one before.

    A step is (work, value / work) for each request, 0 where it has none. The steps are the corners of what mixes of the
    ways are worth, so that taking the steps of all requests by falling density is the best choice of ways as well.
    """
    values = np.array([way.value for way in ways])
    works = np.array([way.work_ns for way in ways])
    spent, gained = np.zeros(works.shape[1]), np.zeros(works.shape[1])
    found = []
    for _ in ways:
        with np.errstate(invalid="ignore"):
            more, better = works - spent, values - gained
        useful = np.isfinite(works) & (better > 0) & (more > 0)
        density = np.where(useful, better / np.where(useful, more, 1.0), 0.0)
        best = np.argmax(density, axis=0)[None]
        slope = np.take_along_axis(density, best, axis=0)[0]
        step = np.where(slope > 0, np.take_along_axis(np.where(useful, more, 0.0), best, axis=0)[0], 0.0)
        if not step.any():
            break
        found.append((step, slope))
        spent, gained = spent + step, np.where(step > 0, np.take_along_axis(values, best, axis=0)[0], gained)
    return found
