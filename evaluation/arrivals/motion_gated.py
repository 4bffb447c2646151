"""Generates frames of cameras that send only while something moves: each by itself, or all
because of the same motion.
"""

from dataclasses import dataclass

import numpy as np

from edge.core.events import Time
from evaluation.arrivals.renewal import SECOND_NS, Floats, Times, as_ns
from porting.errors import UserError

MOTIONS_MAX = 1_000_000


@dataclass(frozen=True)
class OnOff:
    """Simulates a camera with a motion sensor of its own. `on_s`, `off_s`: mean times with and without motion.

    During motion it sends frames at an even pace, faster than the mean rate by the factor (on_s + off_s) / on_s. Times
    are exponential, then stretched to add up, so that a short run has its share of motion, and thus the requested load,
    as well.
    """

    on_s: float = 1.0
    off_s: float = 3.0
    jitter: float = 0.1  # share of the period while there is motion, 0..1

    def __post_init__(self) -> None:
        if not (self.on_s > 0 and self.off_s > 0 and 0 <= self.jitter <= 1):
            raise ValueError("motion and its absence last for more than nothing, the jitter is a share of the period")

    def spans(self, rng: np.random.Generator, duration_ns: Time) -> Floats:
        """Returns when something moves: [n, 2], from and to, s; n is at least 1. Raises
        `UserError` when n would be too large.
        """
        duration_s = duration_ns / SECOND_NS
        motions = max(1.0, duration_s / (self.on_s + self.off_s))
        if motions > MOTIONS_MAX:
            raise UserError(f"arrivals: {motions:.3g} motions; at most {MOTIONS_MAX:,} fit")
        on = rng.exponential(1.0, round(motions))
        off = rng.exponential(1.0, round(motions) + 1)
        on *= duration_s * self.on_s / (self.on_s + self.off_s) / on.sum()
        off *= duration_s * self.off_s / (self.on_s + self.off_s) / off.sum()
        begin_s = np.cumsum(off[:-1]) + np.concatenate([[0.0], np.cumsum(on[:-1])])
        return np.column_stack([begin_s, begin_s + on])

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Returns instants in [0, duration_ns) with a mean rate of `rate_per_s`."""
        return Seen(self, self.spans(rng, duration_ns)).times(rng, rate_per_s, duration_ns)


@dataclass(frozen=True)
class Motion(OnOff):
    """Simulates one motion that every stream sees: all of them send at once, and all of them are silent.

    The shared part is drawn before the streams are, which `evaluation.arrivals.registry.streams` does.
    """

    def shared(self, rng: np.random.Generator, duration_ns: Time) -> "Seen":
        """Returns the process of every stream that looks at the same place."""
        return Seen(self, self.spans(rng, duration_ns))


@dataclass(frozen=True, eq=False)
class Seen:
    """Generates frames while something moves; `spans`: [n, 2], from and to, s."""

    camera: OnOff
    spans: Floats

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Returns instants in [0, duration_ns); the first frame of a motion comes within a period of its beginning."""
        if rate_per_s <= 0 or duration_ns <= 0:
            return np.empty(0, np.int64)
        period_s = self.camera.on_s / (self.camera.on_s + self.camera.off_s) / rate_per_s
        frames = [self._frames(rng, period_s, begin_s, end_s) for begin_s, end_s in self.spans]
        return as_ns(np.concatenate([np.empty(0), *frames]), duration_ns)

    def _frames(self, rng: np.random.Generator, period_s: float, begin_s: float, end_s: float) -> Floats:
        count = int((end_s - begin_s) / period_s) + 2
        even = rng.random() + np.arange(-1, count)
        at_s = begin_s + (even + self.camera.jitter * rng.random(count + 1)) * period_s
        return at_s[(at_s >= begin_s) & (at_s < end_s)]
