"""How sure a mean over a few seeds is: percentile intervals by drawing again (Efron, Annals of Statistics 1979)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean, and between which values it lies at the asked confidence."""

    mean: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return not self.low <= value <= self.high


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Of the mean of independent values, such as one for each seed. With fewer than some five it is too narrow.

    Raises ValueError where there are no values.
    """
    if not values:
        raise ValueError("no values, so there is no mean")
    drawn = np.asarray(values, float)
    picks = np.random.default_rng(seed).integers(0, len(drawn), (draws, len(drawn)))
    low, high = np.quantile(drawn[picks].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(drawn.mean()), float(low), float(high))


def paired_difference(
    ours: Sequence[float], others: Sequence[float], confidence: float = 0.95, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Of `ours - others`, both measured on the same traces in the same order: what a trace does to both cancels out.

    Raises ValueError where they are not equally many.
    """
    differences = [mine - theirs for mine, theirs in zip(ours, others, strict=True)]
    return mean_interval(differences, confidence, seed, draws)
