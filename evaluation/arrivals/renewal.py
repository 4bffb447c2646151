"""Generates arrivals with independent, identically distributed gaps (Poisson, Gamma, Pareto), and a camera's clock.

All of them are stationary: the first gap is the rest of the gap that covers time 0, not a whole one, so that the
expected number of arrivals is rate times duration from the first second on (Cox, Renewal Theory, 1962, section 2.2).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.events import Time
from porting.errors import UserError

Times = NDArray[np.int64]  # ns, ascending
Floats = NDArray[np.float64]
SECOND_NS = 1_000_000_000
ARRIVALS_MAX = 20_000_000  # of one stream: some GB of memory


class Renewal:
    """Defines a process by its gaps, in units of the mean gap."""

    def gaps(self, rng: np.random.Generator, count: int) -> Floats:
        """Returns `count` gaps of mean 1."""
        raise NotImplementedError

    def first(self, rng: np.random.Generator) -> float:
        """Returns the rest of the gap that covers time 0."""
        raise NotImplementedError

    def points(self, rng: np.random.Generator, until: float) -> Floats:
        """Returns points in [0, until), one per unit on average. Raises `UserError` for too many."""
        if until > ARRIVALS_MAX:
            raise UserError(f"arrivals: {until:.3g} of one stream; at most {ARRIVALS_MAX:,} fit")
        pieces = [np.array([self.first(rng)])]
        while pieces[-1][-1] < until:
            pieces.append(pieces[-1][-1] + np.cumsum(self.gaps(rng, int(until) + 16)))
        points = np.concatenate(pieces)
        return points[points < until]

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Returns instants in [0, duration_ns) with a mean rate of `rate_per_s`."""
        if rate_per_s <= 0 or duration_ns <= 0:
            return np.empty(0, np.int64)
        return as_ns(self.points(rng, duration_ns / SECOND_NS * rate_per_s) / rate_per_s, duration_ns)


def as_ns(at_s: NDArray[Any], duration_ns: Time) -> Times:
    """Returns ascending seconds as whole nanoseconds in [0, duration_ns)."""
    within = at_s[(at_s >= 0) & (at_s < duration_ns / SECOND_NS)]
    times: Times = np.minimum(np.floor(within * SECOND_NS).astype(np.int64), duration_ns - 1)
    return times


@dataclass(frozen=True)
class Poisson(Renewal):
    """Generates arrivals of many clients that are independent of each other."""

    def gaps(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.exponential(1.0, count)

    def first(self, rng: np.random.Generator) -> float:
        return float(rng.exponential(1.0))


@dataclass(frozen=True)
class Gamma(Renewal):
    """Generates bursts by the coefficient of variation of the gaps: 1 is Poisson, 4 comes in
    clumps, 0.5 is nearly a clock.

    As in AlpaServe (Li et al., OSDI 2023): shape 1/cv², scale cv²/rate.
    """

    cv: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.cv <= 100:
            raise ValueError("the coefficient of variation lies between 0 and 100")

    def gaps(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.gamma(self.cv**-2, self.cv**2, count)

    def first(self, rng: np.random.Generator) -> float:
        # A gap covers time 0 with a chance proportional to its length, and time 0 is uniform within it.
        return float(rng.random() * rng.gamma(self.cv**-2 + 1, self.cv**2))


@dataclass(frozen=True)
class Pareto(Renewal):
    """Generates gaps with a long tail (Pareto of the second kind, Lomax): long silence, then many arrivals at once.

    `alpha`: the tail, P(gap > x) ~ x^-alpha. At 2 and below the gaps have no variance, at 1 no mean.
    """

    alpha: float = 2.5

    def __post_init__(self) -> None:
        if self.alpha <= 1:
            raise ValueError("alpha must be above 1, else gaps have no mean")

    def gaps(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.pareto(self.alpha, count) * (self.alpha - 1)

    def first(self, rng: np.random.Generator) -> float:
        return float(rng.pareto(self.alpha - 1)) * (self.alpha - 1)  # what is left of a Lomax gap is Lomax again


@dataclass(frozen=True)
class Periodic:
    """Generates the frames of a camera. `jitter`: each comes up to this share of a period late,
    0..1; lateness does not add up.

    `phase`: of the first frame, as a share of a period, 0..1; None: drawn, since no two cameras start together.
    """

    jitter: float = 0.0
    phase: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.jitter <= 1:
            raise ValueError("the jitter is a share of the period, 0..1; more would change the order of frames")

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Returns instants in [0, duration_ns). Raises `UserError` for too many."""
        if rate_per_s <= 0 or duration_ns <= 0:
            return np.empty(0, np.int64)
        frames = int(duration_ns / SECOND_NS * rate_per_s) + 2
        if frames > ARRIVALS_MAX:
            raise UserError(f"arrivals: {frames:.3g} of one stream; at most {ARRIVALS_MAX:,} fit")
        phase = rng.random() if self.phase is None else self.phase
        # A frame that is late from before the beginning falls into it, as the last one falls out of the end.
        late = self.jitter * rng.random(frames)
        return as_ns((phase - 1 + np.arange(frames) + late) / rate_per_s, duration_ns)
