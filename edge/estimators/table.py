"""Durations as they were profiled when the model was ported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from edge.core.interfaces import About
from porting.variant import Stage

CURVES_MAX = 1_024  # new graphs come with promotions
Points = list[tuple[int, int]]  # (batch, ns), both ascending
Curve = dict[int, int]  # batch -> ns, for the batches that were asked for


@dataclass
class Table:
    """Linear between profiled batch sizes, proportional beyond the last, never falling with the batch size.

    `unknown_ns`: what each item of a stage without a profile is taken to need.
    `margin`: every answer is this many times the profile (1.06: 6 % above), so that noise does not make work late.
    """

    about: ClassVar[About] = About(
        paper="ours: the profile that porting measures",
        sources={
            "unknown_ns": "ours: a small vision model on an edge CPU",
            "margin": "ours: the profile is a p99 already; benchmarks take 1.06, three times the spread of their noise",
        },
    )

    unknown_ns: int = 10_000_000
    margin: float = 1.0
    # By identity of the profile, which is one mapping for a stage's whole life; kept beside it, so that the identity
    # cannot go to another one.
    _curves: dict[int, tuple[Mapping[int, int], Curve]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.margin <= 0:
            raise ValueError(f"margin is {self.margin}; expected more than 0, such as 1.06")

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        profile = stage.durations_ns
        try:
            known, curve = self._curves[id(profile)]
            if known is profile:
                return curve[batch]
        except KeyError:
            pass
        return self._add(profile, batch)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """A table stays as it is."""

    def _add(self, profile: Mapping[int, int], batch: int) -> int:
        known = self._curves.get(id(profile))
        if known is None or known[0] is not profile:
            if len(self._curves) >= CURVES_MAX:
                self._curves.clear()  # a curve is quickly made again
            known = self._curves[id(profile)] = (profile, {})
        profiled_ns = interpolate(monotone(profile), batch) or self.unknown_ns * batch
        duration_ns = known[1][batch] = max(1, round(profiled_ns * self.margin))
        return duration_ns


def monotone(durations_ns: Mapping[int, int]) -> Points:
    """Sorted by batch; noise of the profile that makes a larger batch faster is levelled up."""
    points: Points = []
    for batch, took_ns in sorted(durations_ns.items()):
        points.append((batch, max(took_ns, points[-1][1] if points else 1)))
    return points


def interpolate(points: Points, batch: int) -> int:
    """0: nothing known."""
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
    """Linear between measured points (at least one); outside of them, as many times the profile as at the next one.
    Never falls with the batch size if neither the points nor the profile do.
    """
    (first, first_ns), (last, last_ns) = points[0], points[-1]
    if batch < first:
        return round(first_ns * profile_ns(batch) / profile_ns(first))
    if batch > last:
        return round(last_ns * profile_ns(batch) / profile_ns(last))
    return interpolate(points, batch)
