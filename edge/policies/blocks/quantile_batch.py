"""The batch by a line through what the slowest of the last batches took: linear quantile regression."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from edge.core.events import Time

WINDOW = 64  # of the last batches
REFIT = 8  # batches between two fits
HALVINGS = 40  # of the interval of slopes: enough for a nanosecond in an hour
Points = Sequence[tuple[int, int]]  # (batch, took_ns)


@dataclass(slots=True)
class Quantile:
    """The largest batch whose predicted `quantile` is within the budget; until two sizes were seen, one more each time.

    Never more than twice what was seen: a line is no knowledge far outside its points.
    """

    quantile: float = 0.99
    seen: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    unread: int = 0  # batches since the last fit
    line: tuple[float, float] | None = None  # ns of a batch, ns of each item

    def limit(self, budget_ns: Time) -> int:
        """The largest batch to run now, at least 1."""
        largest = max((batch for batch, _ in self.seen), default=0)
        if self.line is None:
            return largest + 1
        base, slope = self.line
        fitting = int((budget_ns - base) / slope) if slope > 0 else 2 * largest
        return max(1, min(fitting, 2 * largest))

    def learn(self, batch: int, full: bool, took_ns: Time, budget_ns: Time, batch_max: int) -> None:
        self.seen.append((batch, took_ns))
        self.unread += 1
        if len({size for size, _ in self.seen}) > 1 and (self.line is None or self.unread >= REFIT):
            self.line, self.unread = fitted(self.seen, self.quantile), 0


def fitted(points: Points, quantile: float) -> tuple[float, float]:
    """Intercept and slope (not negative) of the line with the least pinball loss (Koenker and Bassett, 1978).

    For a given slope the best intercept is that quantile of what is left over, and the loss is convex in the slope.
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
    rest = sorted(took - slope * batch for batch, took in points)
    return rest[ceil(quantile * len(rest)) - 1]


def loss(points: Points, slope: float, quantile: float) -> float:
    base = intercept(points, slope, quantile)
    over = [took - base - slope * batch for batch, took in points]
    return sum(rest * quantile if rest > 0 else -rest * (1 - quantile) for rest in over)
