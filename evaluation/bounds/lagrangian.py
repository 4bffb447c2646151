"""A closer bound for one lane: time has a price, and each model buys what it likes best.

Whatever the prices, what all models together gain by buying time for batches, and the price of all the time there is,
are a bound on what one lane can do (weak duality). At given prices the models do not compete any more, and what is best
for one of them is found exactly: where both arrivals and deadlines ascend, batches of neighbours are as good as any.
Prices are searched for by subgradients; every round gives a bound, later ones closer ones. Unlike the bound of
`evaluation.bounds.goodput` this one knows that batches are whole and have to be in one piece.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import floor, inf
from operator import attrgetter

import numpy as np

from evaluation.bounds.demand import AppDemand, Demand
from evaluation.bounds.goodput import ROUNDING, goodput_bound
from evaluation.bounds.packing import Floats, Ints
from evaluation.scenario import Scenario

CELL_NS = 1_000_000  # in which the price is the same: with smaller ones it is closer, and slower
ROUNDS = 150
STEP = 0.02  # how much lower than the lowest bound so far the lowest of all is taken to be, at first


def priced_bound(scenario: Scenario, rounds: int = ROUNDS, cell_ns: int = CELL_NS) -> float:
    """Requests that can be answered in time at most, a whole number; `goodput_bound` or less.

    Just that where there are several lanes, variants or stages, or a model's deadlines are not in order of arrival.
    """
    most, demand = goodput_bound(scenario), Demand(scenario)
    if not most or not is_simple(demand):
        return most
    market = Market(demand, cell_ns)
    prices = np.full(len(market.edges) - 1, 0.5 * most / market.edges[-1])
    lowest = inf
    for turn in range(rounds):
        bound, idle_ns = market.trade(prices)
        lowest = min(lowest, bound)
        goal = lowest * (1 - STEP / (1 + turn / 20))  # Polyak's step
        prices = np.maximum(0.0, prices - (bound - goal) / max(1.0, float(idle_ns @ idle_ns)) * idle_ns)
    return min(most, floor(lowest + ROUNDING))


def is_simple(demand: Demand) -> bool:
    """One lane, and a stage of its own for each app, whose requests are due in the order in which they come."""
    variants = [variant for app in demand.apps for need in app.needs for variant in demand.variants[need.model]]
    stages = [digest for variant in variants for digest in variant.stages]
    one_each = len(variants) == len(stages) == len(set(stages)) == len(demand.apps)
    return len(demand.lanes) == 1 and one_each and all(map(is_ascending, demand.apps))


def is_ascending(app: AppDemand) -> bool:
    return bool((np.diff(app.begin_ns) >= 0).all() and (np.diff(app.end_ns) >= 0).all())


class Market:
    """Cells of time, and models that buy in them."""

    def __init__(self, demand: Demand, cell_ns: int):
        begin_ns = min(int(app.begin_ns.min()) for app in demand.apps)
        end_ns = max(int(app.end_ns.max()) for app in demand.apps)
        self.cell_ns = float(cell_ns)
        self.edges = np.arange(0, end_ns - begin_ns + cell_ns, cell_ns).astype(np.float64)
        self.buyers = []
        for app in demand.apps:
            (variant,) = demand.variants[app.needs[0].model]
            durations_ns = demand.durations_ns[variant.stages[0]]
            self.buyers.append(Buyer(app.begin_ns - begin_ns, app.end_ns - begin_ns, durations_ns, self.edges))

    def trade(self, prices: Floats) -> tuple[float, Floats]:
        """`prices`: of a nanosecond, by cell. Returns the bound, and how much of each cell nobody bought; where several
        buyers bought the same time, less than nothing.
        """
        paid = np.concatenate(([0.0], np.cumsum(prices * self.cell_ns)))
        gained, idle_ns = float(paid[-1]), np.full(len(prices), self.cell_ns)
        for buyer in self.buyers:
            gain, begins, ends = buyer.buy(paid)
            gained += gain
            idle_ns -= self._covered(begins) - self._covered(ends)
        return gained, idle_ns

    def _covered(self, times: Floats) -> Floats:
        """Sum over the times of how much of each cell comes after them."""
        cells = len(self.edges) - 1
        inside = np.minimum((times / self.cell_ns).astype(int), cells - 1)
        part = np.bincount(inside, (inside + 1) * self.cell_ns - times, cells)
        return part + self.cell_ns * (
            np.cumsum(np.bincount(inside, minlength=cells)) - np.bincount(inside, minlength=cells)
        )


class Buyer:
    """A model: each batch of neighbours that can be in time, from when to when it can begin, and the best choice."""

    def __init__(self, begin_ns: Ints, end_ns: Ints, durations_ns: Mapping[int, int], edges: Floats):
        self.count = len(begin_ns)
        self.offers = [
            Offers(size, took_ns, begin_ns[size - 1 :], end_ns[: self.count - size + 1] - took_ns, edges)
            for size, took_ns in durations_ns.items()
            if size <= self.count
        ]
        self.offers = [offers for offers in self.offers if len(offers.last)] or self.offers[:1]
        last, sizes, took_ns = (
            np.concatenate([np.broadcast_to(column(offers), len(offers.last)) for offers in self.offers])
            for column in (attrgetter("last"), attrgetter("size"), attrgetter("took_ns"))
        )
        self.order = np.argsort(last, kind="stable")
        self.until = np.searchsorted(last[self.order], np.arange(self.count), "right").tolist()
        self.sizes, self.took_ns = sizes[self.order], took_ns[self.order]

    def buy(self, paid: Floats) -> tuple[float, Floats, Floats]:
        """What it gains at most: requests less what their batches cost; when these begin and end."""
        found = [offers.cheapest(paid) for offers in self.offers]
        gains = self.sizes - np.concatenate([price for price, _ in found])[self.order]
        begins = np.concatenate([begin for _, begin in found])[self.order]
        gain, chosen = self._best(gains.tolist(), self.sizes.tolist())
        return gain, begins[chosen], begins[chosen] + self.took_ns[chosen]

    def _best(self, gains: list[float], sizes: list[int]) -> tuple[float, list[int]]:
        """Each request in one batch at most."""
        best, pick, at = [0.0], [-1], 0
        for number, until in enumerate(self.until):
            most, choice = best[number], -1
            for offer in range(at, until):
                if gains[offer] > 0 and best[number + 1 - sizes[offer]] + gains[offer] > most:
                    most, choice = best[number + 1 - sizes[offer]] + gains[offer], offer
            best.append(most)
            pick.append(choice)
            at = until
        chosen, left = [], self.count
        while left:
            if pick[left] >= 0:
                chosen.append(pick[left])
            left -= sizes[pick[left]] if pick[left] >= 0 else 1
        return best[-1], chosen


class Offers:
    """Batches of one size: `last` of their requests, and the time in which they can begin."""

    def __init__(self, size: int, took_ns: int, first_ns: Ints, latest_ns: Ints, edges: Floats):
        possible = latest_ns >= first_ns
        self.size, self.took_ns, self.edges = size, took_ns, edges
        self.last = np.nonzero(possible)[0] + size - 1
        self.first_ns, self.latest_ns = first_ns[possible].astype(float), latest_ns[possible].astype(float)

    @cached_property
    def ranges(self) -> Sequence["Ranges"]:
        """A batch that begins later pays more or less in a straight line, until its begin or its end enters another
        cell: that is where it is cheapest, or at the ends of its time.
        """
        return [Ranges(self.edges, self.first_ns + shift, self.latest_ns + shift) for shift in (0, self.took_ns)]

    def cheapest(self, paid: Floats) -> tuple[Floats, Floats]:
        """For each batch, its least price and when it begins then. `paid`: from the begin of all time to each edge."""
        begins = [self.first_ns, self.latest_ns]
        prices = [self._price(begin, paid) for begin in begins]
        for shift, ranges in zip((0, self.took_ns), self.ranges, strict=True):
            least, at = ranges.least(self._price(self.edges - shift, paid))
            prices.append(least)
            begins.append(self.edges[at] - shift)
        best = np.argmin(prices, axis=0)[None]
        return np.take_along_axis(np.array(prices), best, 0)[0], np.take_along_axis(np.array(begins), best, 0)[0]

    def _price(self, begin_ns: Floats, paid: Floats) -> Floats:
        return np.interp(begin_ns + self.took_ns, self.edges, paid) - np.interp(begin_ns, self.edges, paid)


class Ranges:
    """Ranges of edges, to ask for the least value in each: by the least of two overlapping powers of two."""

    def __init__(self, edges: Floats, low: Floats, high: Floats):
        self.low, self.high = np.searchsorted(edges, low, "left"), np.searchsorted(edges, high, "right") - 1
        lengths = self.high - self.low + 1
        self.levels = np.where(lengths > 0, np.log2(np.maximum(lengths, 1)).astype(int), -1)

    def least(self, values: Floats) -> tuple[Floats, Ints]:
        """The least value in each range and where it is; infinite, and at 0, where the range is empty."""
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
