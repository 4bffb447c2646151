"""Computes confidence intervals of a mean over a few seeds: percentile bootstrap (Efron, Annals of Statistics 1979),
widened as few values need it (Hesterberg, The American Statistician 2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin, sqrt, tan
from statistics import NormalDist

import numpy as np

DRAWS = 10_000


@dataclass(frozen=True)
class Interval:
    """Holds a mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Returns whether a value lies outside the interval."""
        return not self.low <= value <= self.high


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Returns the confidence interval of the mean of independent values, such as one for each seed.

    Resampling n values gives a spread that is too small by the factor sqrt((n - 1) / n), and more so because the spread
    itself is estimated. The percentile interval is therefore widened about the mean by sqrt(n / (n - 1)) * t / z, where
    t and z are the quantiles of Student's and of the normal distribution, so the interval may reach beyond 0..1 for a
    share. With one value nothing is known of the spread, and both ends are that value.

    Args:
        values: at least one.
        confidence: 0..1.
        seed: of the resampling.
        draws: number of resamples.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values, so there is no mean")
    drawn = np.asarray(values, float)
    picks = np.random.default_rng(seed).integers(0, len(drawn), (draws, len(drawn)))
    low, high = np.quantile(drawn[picks].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    mean, wider = float(drawn.mean()), widening(len(drawn), confidence)
    return Interval(mean, mean - wider * (mean - float(low)), mean + wider * (float(high) - mean))


@lru_cache
def widening(count: int, confidence: float) -> float:
    """Returns the factor by which the percentile interval of the mean of `count` values is too
    narrow; 1 for one value.
    """
    if count < 2:
        return 1.0
    return sqrt(count / (count - 1)) * student_t(count - 1, confidence) / NormalDist().inv_cdf((1 + confidence) / 2)


def student_t(freedom: int, confidence: float) -> float:
    """Returns the t such that a t-distributed number lies within -t..t at this confidence. `freedom`: 1 or more."""
    low, high = 0.0, pi / 2  # of atan(t / sqrt(freedom))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(freedom, middle) < confidence else (low, middle)
    return sqrt(freedom) * tan(low)


def within(freedom: int, angle: float) -> float:
    """Returns P(|T| <= sqrt(freedom) * tan(angle)), a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    odd = freedom % 2
    term = sin(angle) * (cos(angle) if odd else 1.0)
    total = 0.0
    for power in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cos(angle) ** 2 * (power - 1) / power
    return 2 / pi * (angle + total) if odd else total
