"""Generates Poisson arrivals whose rate varies: two states, a day, a flash crowd."""

from dataclasses import dataclass

import numpy as np

from edge.core.events import Time
from evaluation.arrivals.renewal import SECOND_NS, Floats, Poisson, Renewal, Times, as_ns
from porting.errors import UserError

GRID = 2_048  # points by which a curve is followed
CHANGES_MAX = 1_000_000


class Modulated:
    """Runs a renewal process in a warped time, which passes faster where the rate is higher.

    A change of the mean rate therefore leaves the pattern as it was: the same seed at two loads means the same bursts.
    """

    inner: Renewal = Poisson()

    def curve(self, rng: np.random.Generator, duration_s: float) -> tuple[Floats, Floats]:
        """Returns instants in s from 0 to the duration, and the warped time that has passed by
        then; the mean ratio is 1.
        """
        raise NotImplementedError

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Returns instants in [0, duration_ns) with a mean rate of `rate_per_s`."""
        if rate_per_s <= 0 or duration_ns <= 0:
            return np.empty(0, np.int64)
        at_s, passed = self.curve(rng, duration_ns / SECOND_NS)
        points = self.inner.points(rng, passed[-1] * rate_per_s) / rate_per_s
        return as_ns(np.interp(points, passed, at_s), duration_ns)


@dataclass(frozen=True)
class Mmpp(Modulated):
    """Generates a Markov-modulated Poisson process of two states, each of which lasts for a random time.

    `r_hi`, `r_lo`: rates in units of the mean rate. `t_hi`, `t_lo`: mean duration of a state, s. Rates whose mean is
    not 1 are scaled so that it is.
    """

    r_hi: float = 2.5
    r_lo: float = 0.5
    t_hi: float = 1.0
    t_lo: float = 3.0

    def __post_init__(self) -> None:
        if not (0 <= self.r_lo <= self.r_hi and self.r_hi > 0 and self.t_hi > 0 and self.t_lo > 0):
            raise ValueError("0 <= r_lo <= r_hi, and both states last for more than nothing")

    def curve(self, rng: np.random.Generator, duration_s: float) -> tuple[Floats, Floats]:
        at_s, high = alternating(rng, self.t_hi, self.t_lo, duration_s)
        mean = (self.r_hi * self.t_hi + self.r_lo * self.t_lo) / (self.t_hi + self.t_lo)
        rates = np.where(high, self.r_hi, self.r_lo) / mean
        return at_s, np.concatenate([[0.0], np.cumsum(rates * np.diff(at_s))])


def alternating(
    rng: np.random.Generator, on_s: float, off_s: float, duration_s: float
) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Returns instants in s, from 0 to the duration, at which an on/off process changes, and
    whether it is on after each but the last.

    Times on and off are exponential; the state at time 0 is random as well. Raises `UserError` for too many changes.
    """
    first_on = rng.random() < on_s / (on_s + off_s)
    count = int(2 * duration_s / (on_s + off_s)) + 16
    if count > CHANGES_MAX:
        raise UserError(f"arrivals: {count:,} changes of state; at most {CHANGES_MAX:,} fit")
    ends = np.zeros(1)
    while ends[-1] < duration_s:
        on = (np.arange(len(ends) - 1, len(ends) - 1 + count) % 2 == 0) == first_on
        ends = np.concatenate([ends, ends[-1] + np.cumsum(rng.exponential(np.where(on, on_s, off_s)))])
    at_s = np.concatenate([ends[ends < duration_s], [duration_s]])
    return at_s, (np.arange(len(at_s) - 1) % 2 == 0) == first_on


@dataclass(frozen=True)
class Diurnal(Modulated):
    """Generates a rate of night, day, night: 1 - depth·cos(2πt/period), in units of the mean rate.

    `depth`: 0..1. `period_s`: None: one day in the whole duration. All streams have the same day.
    """

    depth: float = 0.8
    period_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= 1 or (self.period_s is not None and self.period_s <= 0):
            raise ValueError("the depth lies between 0 and 1, the period is more than nothing")

    def curve(self, rng: np.random.Generator, duration_s: float) -> tuple[Floats, Floats]:
        period_s = self.period_s or duration_s
        at_s = np.linspace(0, duration_s, min(CHANGES_MAX, 1 + int(GRID * max(1.0, duration_s / period_s))))
        wave = period_s / (2 * np.pi)
        return at_s, at_s - self.depth * wave * np.sin(at_s / wave)


@dataclass(frozen=True)
class FlashCrowd(Modulated):
    """Multiplies the rate by `times_as_many` suddenly, from the share `at` of the duration for
    the share `lasts` of it.
    """

    times_as_many: float = 4.0
    at: float = 0.4
    lasts: float = 0.1

    def __post_init__(self) -> None:
        if not (self.times_as_many > 0 and self.at >= 0 and self.lasts > 0 and self.at + self.lasts <= 1):
            raise ValueError("a crowd begins and ends within the duration, and is some times as many as else")

    def curve(self, rng: np.random.Generator, duration_s: float) -> tuple[Floats, Floats]:
        at_s = np.array([0, self.at, self.at + self.lasts, 1]) * duration_s
        rates = np.array([1, self.times_as_many, 1]) / (1 + self.lasts * (self.times_as_many - 1))
        return at_s, np.concatenate([[0.0], np.cumsum(rates * np.diff(at_s))])
