"""Computes the Lagrangian bound: closer on one lane, as it relaxes only that batches cannot overlap on the lane.

Each cell of time has a multiplier, the price of a nanosecond in it. Whatever the multipliers, the dual value (what all
models gain by batches less the time they use, plus the price of all the time there is) is a bound on what one lane can
do (weak duality). At given multipliers the problem falls apart into one per model, which is solved exactly: where both
arrivals and deadlines ascend, batches of neighbours are as good as any. The multipliers are searched for by
subgradients (Held, Wolfe and Crowder, Mathematical Programming 1974); every round gives a bound, later ones closer
ones. Unlike the preemptive relaxation of `evaluation.bounds.goodput` it knows that batches are whole and run in one
piece.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import floor, inf
from operator import attrgetter

import numpy as np

from evaluation.bounds.demand import AppDemand, Demand
from evaluation.bounds.goodput import ROUNDING, goodput_bound
from evaluation.bounds.preemptive_relaxation import Floats, Ints
from evaluation.scenario import Scenario

CELL_NS = 1_000_000  # with one multiplier each: with smaller ones it is closer, and slower
ROUNDS = 150
STEP = 0.02  # how much lower than the lowest bound so far the lowest of all is taken to be, at first


def lagrangian_bound(scenario: Scenario, rounds: int = ROUNDS, cell_ns: int = CELL_NS) -> float:
    """Returns how many requests can be answered in time at most: a whole number, `goodput_bound` or less.

    Equals `goodput_bound` where the scenario does not `apply`. Takes half a minute for 12,000 requests.
    """
    most, demand = goodput_bound(scenario), Demand(scenario)
    if not most or not is_simple(demand):
        return most
    dual = LagrangianDual(demand, cell_ns)
    multipliers = np.full(len(dual.edges) - 1, 0.5 * most / dual.edges[-1])
    lowest = inf
    for turn in range(rounds):
        bound, idle_ns = dual.solve(multipliers)
        lowest = min(lowest, bound)
        goal = lowest * (1 - STEP / (1 + turn / 20))  # Polyak's step
        multipliers = np.maximum(0.0, multipliers - (bound - goal) / max(1.0, float(idle_ns @ idle_ns)) * idle_ns)
    return min(most, floor(lowest + ROUNDING))


def applies(scenario: Scenario) -> bool:
    """Returns whether the bound knows more than the preemptive relaxation: see `is_simple`."""
    return is_simple(Demand(scenario))


def is_simple(demand: Demand) -> bool:
    """Returns whether there is one lane, one variant of one stage for each app that shares it with no other app, and
    deadlines of each app in order of arrival.
    """
    variants = [variant for app in demand.apps for need in app.needs for variant in demand.variants[need.model]]
    stages = [digest for variant in variants for digest in variant.stages]
    one_each = len(variants) == len(stages) == len(set(stages)) == len(demand.apps)
    return len(demand.lanes) == 1 and one_each and all(map(is_ascending, demand.apps))


def is_ascending(app: AppDemand) -> bool:
    return bool((np.diff(app.begin_ns) >= 0).all() and (np.diff(app.end_ns) >= 0).all())


class LagrangianDual:
    """Holds the cells of time, `edges` in ns from the first arrival on, and a subproblem for each app."""

    def __init__(self, demand: Demand, cell_ns: int):
        begin_ns = min(int(app.begin_ns.min()) for app in demand.apps)
        end_ns = max(int(app.end_ns.max()) for app in demand.apps)
        self.cell_ns = float(cell_ns)
        self.edges = np.arange(0, end_ns - begin_ns + cell_ns, cell_ns).astype(np.float64)
        self.subproblems = []
        for app in demand.apps:
            (variant,) = demand.variants[app.needs[0].model]
            durations_ns = demand.durations_ns[variant.stages[0]]
            windows_ns = app.begin_ns - begin_ns, app.end_ns - begin_ns
            self.subproblems.append(ModelSubproblem(*windows_ns, durations_ns, self.edges))

    def solve(self, multipliers: Floats) -> tuple[float, Floats]:
        """Returns the dual value at these `multipliers`, in requests per ns by cell, and a subgradient: how many ns of
        each cell no batch uses, negative where several batches overlap.
        """
        cost = np.concatenate(([0.0], np.cumsum(multipliers * self.cell_ns)))
        value, idle_ns = float(cost[-1]), np.full(len(multipliers), self.cell_ns)
        for subproblem in self.subproblems:
            gain, begins, ends = subproblem.solve(cost)
            value += gain
            idle_ns -= self._covered(begins) - self._covered(ends)
        return value, idle_ns

    def _covered(self, times: Floats) -> Floats:
        """Returns, by cell, the sum over the times of how much of the cell comes after them."""
        cells = len(self.edges) - 1
        inside = np.minimum((times / self.cell_ns).astype(int), cells - 1)
        part = np.bincount(inside, (inside + 1) * self.cell_ns - times, cells)
        return part + self.cell_ns * (
            np.cumsum(np.bincount(inside, minlength=cells)) - np.bincount(inside, minlength=cells)
        )


class ModelSubproblem:
    """Holds each batch of neighbours of one model that can be in time, and chooses the best of them at given costs."""

    def __init__(self, begin_ns: Ints, end_ns: Ints, durations_ns: Mapping[int, int], edges: Floats):
        self.count = len(begin_ns)
        self.batches = [
            BatchesOfSize(size, took_ns, begin_ns[size - 1 :], end_ns[: self.count - size + 1] - took_ns, edges)
            for size, took_ns in durations_ns.items()
            if size <= self.count
        ]
        self.batches = [batches for batches in self.batches if len(batches.last)] or self.batches[:1]
        last, sizes, took_ns = (
            np.concatenate([np.broadcast_to(column(batches), len(batches.last)) for batches in self.batches])
            for column in (attrgetter("last"), attrgetter("size"), attrgetter("took_ns"))
        )
        self.order = np.argsort(last, kind="stable")
        self.until = np.searchsorted(last[self.order], np.arange(self.count), "right").tolist()
        self.sizes, self.took_ns = sizes[self.order], took_ns[self.order]

    def solve(self, cost: Floats) -> tuple[float, Floats, Floats]:
        """Returns the most it gains, requests less the cost of their batches' time, and when these begin and end."""
        found = [batches.cheapest(cost) for batches in self.batches]
        gains = self.sizes - np.concatenate([least for least, _ in found])[self.order]
        begins = np.concatenate([begin for _, begin in found])[self.order]
        gain, chosen = self._best(gains.tolist(), self.sizes.tolist())
        return gain, begins[chosen], begins[chosen] + self.took_ns[chosen]

    def _best(self, gains: list[float], sizes: list[int]) -> tuple[float, list[int]]:
        """Returns the most gain and the batches that make it, each request in one of them at most."""
        best, pick, at = [0.0], [-1], 0
        for number, until in enumerate(self.until):
            most, choice = best[number], -1
            for batch in range(at, until):
                if gains[batch] > 0 and best[number + 1 - sizes[batch]] + gains[batch] > most:
                    most, choice = best[number + 1 - sizes[batch]] + gains[batch], batch
            best.append(most)
            pick.append(choice)
            at = until
        chosen, left = [], self.count
        while left:
            if pick[left] >= 0:
                chosen.append(pick[left])
            left -= sizes[pick[left]] if pick[left] >= 0 else 1
        return best[-1], chosen


class BatchesOfSize:
    """Holds the batches of one size that can be in time: `last` of their requests, and when they can begin."""

    def __init__(self, size: int, took_ns: int, first_ns: Ints, latest_ns: Ints, edges: Floats):
        possible = latest_ns >= first_ns
        self.size, self.took_ns, self.edges = size, took_ns, edges
        self.last = np.nonzero(possible)[0] + size - 1
        self.first_ns, self.latest_ns = first_ns[possible].astype(float), latest_ns[possible].astype(float)

    @cached_property
    def ranges(self) -> Sequence["RangeMinimum"]:
        """Holds where else than at the ends of its window a batch can be cheapest.

        That is where its begin or its end enters another cell, as between these its cost is linear in its begin.
        """
        return [RangeMinimum(self.edges, self.first_ns + shift, self.latest_ns + shift) for shift in (0, self.took_ns)]

    def cheapest(self, cost: Floats) -> tuple[Floats, Floats]:
        """Returns the least cost of each batch and when it begins then. `cost`: of all time up to each edge."""
        begins = [self.first_ns, self.latest_ns]
        costs = [self._cost(begin, cost) for begin in begins]
        for shift, ranges in zip((0, self.took_ns), self.ranges, strict=True):
            least, at = ranges.least(self._cost(self.edges - shift, cost))
            costs.append(least)
            begins.append(self.edges[at] - shift)
        best = np.argmin(costs, axis=0)[None]
        return np.take_along_axis(np.array(costs), best, 0)[0], np.take_along_axis(np.array(begins), best, 0)[0]

    def _cost(self, begin_ns: Floats, cost: Floats) -> Floats:
        return np.interp(begin_ns + self.took_ns, self.edges, cost) - np.interp(begin_ns, self.edges, cost)


class RangeMinimum:
    """Answers minima over fixed ranges of edges, each by two overlapping powers of two (a sparse table)."""

    def __init__(self, edges: Floats, low: Floats, high: Floats):
        self.low, self.high = np.searchsorted(edges, low, "left"), np.searchsorted(edges, high, "right") - 1
        lengths = self.high - self.low + 1
        self.levels = np.where(lengths > 0, np.log2(np.maximum(lengths, 1)).astype(int), -1)

    def least(self, values: Floats) -> tuple[Floats, Ints]:
        """Returns the least value in each range and its index; infinite, and 0, where the range is empty."""
        least, at = np.full(len(self.low), inf), np.zeros(len(self.low), np.int64)
        where = np.arange(len(values))
        for level in range(self.levels.max(initial=-1) + 1):
            asked = self.levels == level
            left, right = self.low[asked], self.high[asked] - 2**level + 1
            better = np.where(values[left] <= values[right], left, right)
            least[asked], at[asked] = values[better], where[better]
            half = 2**level
            lower = values[:-half] <= values[half:]
            where = np.where(lower, where[:-half], where[half:])
            values = np.where(lower, values[:-half], values[half:])
        return least, at
