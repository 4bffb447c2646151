"""Arrivals whose gaps are drawn one like the other: cameras, Poisson, Gamma, Pareto.

All of them are stationary: the first gap is what is left of the gap that a watcher walks in on, not a whole one, so the
expected number of arrivals is rate times duration from the first second on (Cox, Renewal Theory, 1962, section 2.2).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.events import Time

Times = NDArray[np.int64]
Gaps = NDArray[np.float64]
SECOND_NS = 1_000_000_000


class Renewal:
    """A process by its gaps, in units of the mean gap."""

    def gaps(self, rng: np.random.Generator, count: int) -> Gaps:
        """`count` gaps of mean 1."""
        raise NotImplementedError

    def first(self, rng: np.random.Generator) -> float:
        """The rest of the gap that covers time 0."""
        raise NotImplementedError

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Instants in [0, duration_ns), ascending, at `rate_per_s` in the mean."""
        if rate_per_s <= 0 or duration_ns <= 0:
            return np.empty(0, np.int64)
        horizon = duration_ns / SECOND_NS * rate_per_s  # in mean gaps
        pieces, reached = [np.array([self.first(rng)])], 0.0
        block = int(horizon) + 16  # of a size that depends on nothing drawn
        while (reached := float(pieces[-1][-1])) < horizon:
            pieces.append(reached + np.cumsum(self.gaps(rng, block)))
        at = np.concatenate(pieces)
        return as_ns(at / rate_per_s, duration_ns)


def as_ns(at_s: NDArray[Any], duration_ns: Time) -> Times:
    """Seconds as whole nanoseconds in [0, duration_ns)."""
    times: Times = np.floor(at_s * SECOND_NS).astype(np.int64)
    return times[(times >= 0) & (times < duration_ns)]


@dataclass(frozen=True)
class Poisson(Renewal):
    """Many clients that know nothing of each other."""

    def gaps(self, rng: np.random.Generator, count: int) -> Gaps:
        return rng.exponential(1.0, count)

    def first(self, rng: np.random.Generator) -> float:
        return float(rng.exponential(1.0))


@dataclass(frozen=True)
class Gamma(Renewal):
    """Bursts by the coefficient of variation of the gaps: 1 is Poisson, 4 comes in clumps, 0.5 is nearly a clock.

    As AlpaServe (Li et al., OSDI 2023) makes its arrivals: shape 1/cv², scale cv²/rate.
    """

    cv: float = 1.0

    def gaps(self, rng: np.random.Generator, count: int) -> Gaps:
        return rng.gamma(self.cv**-2, self.cv**2, count)

    def first(self, rng: np.random.Generator) -> float:
        # The gap that covers an instant is drawn by its length, and the instant is anywhere in it.
        return float(rng.random() * rng.gamma(self.cv**-2 + 1, self.cv**2))
