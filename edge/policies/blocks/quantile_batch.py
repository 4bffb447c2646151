"""Finds a batch size by linear quantile regression over the durations of the last batches."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from edge.core.events import Time

WINDOW = 64  # number of last batches that are fitted
REFIT = 8  # batches between two fits: a fit sorts the window 80 times
HALVINGS = 40  # steps of the ternary search; (2 / 3) ** 40 of the interval of slopes is left, about 1e-7
Points = Sequence[tuple[int, int]]  # (batch, took_ns)


@dataclass(slots=True)
class Quantile:
    """Limits batches so that the predicted `quantile` of their duration is within the budget.

    Until two batch sizes were seen the limit grows by one each time. It never exceeds twice the largest batch seen,
    since a line says little far outside its points.

    `quantile`: 0..1.
    """

    quantile: float = 0.99
    seen: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    unread: int = 0  # batches since the last fit
    line: tuple[float, float] | None = None  # ns of a batch, ns of each item

    def limit(self, budget_ns: Time) -> int:
        """Returns the largest batch to run now, at least 1."""
        largest = max((batch for batch, _ in self.seen), default=0)
        if self.line is None:
            return largest + 1
        base, slope = self.line
        fitting = int((budget_ns - base) / slope) if slope > 0 else 2 * largest
        return max(1, min(fitting, 2 * largest))

    def learn(self, batch: int, full: bool, took_ns: Time, budget_ns: Time, batch_max: int) -> None:
        """Adds one finished batch, and fits again after every REFIT batches; only `batch` and `took_ns` are used."""
        self.seen.append((batch, took_ns))
        self.unread += 1
        if len({size for size, _ in self.seen}) > 1 and (self.line is None or self.unread >= REFIT):
            self.line, self.unread = fitted(self.seen, self.quantile), 0


def fitted(points: Points, quantile: float) -> tuple[float, float]:
    """Returns intercept and slope (at least 0) of the line with the least pinball loss (Koenker and Bassett, 1978).

    For a given slope the best intercept is the quantile of the residuals, and the loss is convex in the slope.
    """
    low, high = 0.0, float(max(took for _, took in points))
    for _ in range(HALVINGS):
        third = (high - low) / 3
        if loss(points, low + third, quantile) <= loss(points, high - third, quantile):
            high -= third
        else:
            low += third
    slope = (low + high) / 2
    return intercept(points, slope, quantile), slope


def intercept(points: Points, slope: float, quantile: float) -> float:
    """Returns the quantile of the residuals for this slope."""
    rest = sorted(took - slope * batch for batch, took in points)
    return rest[ceil(quantile * len(rest)) - 1]


def loss(points: Points, slope: float, quantile: float) -> float:
    """Returns the pinball loss of the best line with this slope."""
    base = intercept(points, slope, quantile)
    over = [took - base - slope * batch for batch, took in points]
    return sum(rest * quantile if rest > 0 else -rest * (1 - quantile) for rest in over)
