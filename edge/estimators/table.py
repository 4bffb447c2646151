"""Looks durations up as they were profiled when the model was ported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from edge.plugins import About
from porting.variant import Stage

CURVES_MAX = 1_024  # new graphs come with promotions
Points = list[tuple[int, int]]  # (batch, ns), both ascending
Curve = dict[int, int]  # batch -> ns, for the batches that were asked for


@dataclass
class Table:
    """Interpolates linearly between profiled batch sizes and extrapolates in proportion; never falls with the batch.

    Raises `ValueError` for a margin that is not above 0.

    `unknown_ns`: nanoseconds for each item of a stage without a profile.
    `margin`: factor on every prediction, such as 1.06 for 6 % above the profile, so that noise does not make work late.
    """

    about: ClassVar[About] = About(
        paper="ours: the profile that porting measures",
        sources={
            "unknown_ns": "ours: a small vision model on an edge CPU",
            "margin": "ours: the profile is a p99 already; benchmarks use 1.06, three times the spread of their noise",
        },
    )

    unknown_ns: int = 10_000_000
    margin: float = 1.0
    # By `id` of the profile, which is one mapping for a stage's whole life. The mapping is kept as well, so that its id
    # is not reused while the entry exists.
    _curves: dict[int, tuple[Mapping[int, int], Curve]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.margin <= 0:
            raise ValueError(f"margin is {self.margin}; expected more than 0, such as 1.06")

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns the profiled duration times `margin`, in nanoseconds, at least 1; the same on every lane."""
        profile = stage.durations_ns
        try:
            known, curve = self._curves[id(profile)]
            if known is profile:
                return curve[batch]
        except KeyError:
            pass
        return self._add(profile, batch)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Ignores the run: a table does not change."""

    def _add(self, profile: Mapping[int, int], batch: int) -> int:
        known = self._curves.get(id(profile))
        if known is None or known[0] is not profile:
            if len(self._curves) >= CURVES_MAX:
                self._curves.clear()  # cheaper than finding the oldest: a curve is quickly computed again
            known = self._curves[id(profile)] = (profile, {})
        profiled_ns = interpolate(monotone(profile), batch) or self.unknown_ns * batch
        duration_ns = known[1][batch] = max(1, round(profiled_ns * self.margin))
        return duration_ns


def monotone(durations_ns: Mapping[int, int]) -> Points:
    """Returns (batch, ns) sorted by batch, in which a batch that is quicker than a smaller one is raised to it."""
    points: Points = []
    for batch, took_ns in sorted(durations_ns.items()):
        points.append((batch, max(took_ns, points[-1][1] if points else 1)))
    return points


def interpolate(points: Points, batch: int) -> int:
    """Returns the duration of a batch: constant below the points, linear between, proportional beyond; 0 if none."""
    if not points:
        return 0
    if batch <= points[0][0]:
        return points[0][1]
    for (low, low_ns), (high, high_ns) in pairwise(points):
        if batch <= high:
            return low_ns + (high_ns - low_ns) * (batch - low) // (high - low)
    last, last_ns = points[-1]
    return last_ns * batch // last


def through(points: Points, profile_ns: Callable[[int], int], batch: int) -> int:
    """Returns the duration of a batch from measured points, of which there is at least one.

    Linear between the points; outside of them as many times the profile as at the nearest point. Never falls with the
    batch size if neither the points nor the profile do.
    """
    (first, first_ns), (last, last_ns) = points[0], points[-1]
    if batch < first:
        return round(first_ns * profile_ns(batch) / profile_ns(first))
    if batch > last:
        return round(last_ns * profile_ns(batch) / profile_ns(last))
    return interpolate(points, batch)
