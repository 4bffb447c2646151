"""Durations as they were profiled when the model was ported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from porting.variant import Stage

CURVES_MAX = 1_024  # new graphs come with promotions
Points = list[tuple[int, int]]  # (batch, ns), both ascending


@dataclass
class Table:
    """Linear between profiled batch sizes, proportional beyond the last, never falling with the batch size.

    `unknown_ns`: what each item of a stage without a profile is taken to need.
    """

    unknown_ns: int = 10_000_000
    # A stage's profile is one mapping for its whole life: its identity tells whether the curve is still right.
    _curves: dict[str, tuple[Mapping[int, int], dict[int, int]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        durations, curve = self._curves.get(stage.graph, (None, {}))
        if durations is not stage.durations_ns:
            curve = {}
            if len(self._curves) >= CURVES_MAX:
                self._curves.clear()  # a curve is quickly made again
            self._curves[stage.graph] = (stage.durations_ns, curve)
        if batch not in curve:
            curve[batch] = interpolate(monotone(stage.durations_ns), batch) or self.unknown_ns * batch
        return curve[batch]

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """A table stays as it is."""


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
