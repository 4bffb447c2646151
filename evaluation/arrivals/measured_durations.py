"""Draws durations of runs as they were measured: from quantiles of a profile, or one by one from a trace.

Both are profiles of a scenario: `duration_ns` is a floor that no run goes below, so that bounds computed from it hold,
and `draw_ns` is what a run takes, drawn from the world's generator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from edge.estimators.table import Table
from porting.variant import Stage

# Of a half-normal distribution of scale 1: its median, its mean and its 99 % quantile.
MEDIAN, MEAN, P99 = 0.6745, 0.7979, 2.5758


@dataclass(frozen=True)
class Spread:
    """Holds a half-normal distribution above a floor, through a measured median and p99: no run is quicker than the
    graph allows, and disturbances make some longer.
    """

    floor_ns: float
    scale_ns: float

    @classmethod
    def through(cls, p50_ns: int, p99_ns: int) -> "Spread":
        """Returns the spread through a median and a p99.

        Where the p99 is so large that the floor would fall below half the median, the floor is half the median: the
        tail is then lighter than measured.
        """
        scale_ns = max(0, p99_ns - p50_ns) / (P99 - MEDIAN)
        floor_ns = max(p50_ns - MEDIAN * scale_ns, p50_ns / 2)
        return cls(floor_ns, (p50_ns - floor_ns) / MEDIAN if p99_ns > p50_ns else 0.0)


@dataclass
class Profiled:
    """Provides durations by graph and batch, the same on every lane; without a spread the stage's own table is used.

    `frame_ns`: time that a first stage needs for each picture in addition to the graph: decoding, resizing.
    """

    spreads: Mapping[tuple[str, int], Spread]
    frame_ns: int = 0
    table: Table = field(default_factory=Table, repr=False)

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        spread = self.spreads.get((stage.graph, batch))
        known_ns = self.table.duration_ns(stage, batch, lane) if spread is None else spread.floor_ns
        return max(1, round(known_ns)) + self._frames_ns(stage, batch)

    def draw_ns(self, stage: Stage, batch: int, lane: str, random: Random) -> int:
        more = abs(random.gauss(0.0, 1.0))  # drawn in any case, so that one stage's spread does not move the others
        spread = self.spreads.get((stage.graph, batch))
        return self.duration_ns(stage, batch, lane) + (0 if spread is None else round(spread.scale_ns * more))

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Ignores the observation: measured durations do not change."""

    def means_ns(self) -> dict[str, dict[int, int]]:
        """Returns graph -> batch -> mean run in ns, without the time that a picture needs in addition to the graph."""
        found: dict[str, dict[int, int]] = {}
        for (graph, batch), spread in self.spreads.items():
            found.setdefault(graph, {})[batch] = round(spread.floor_ns + MEAN * spread.scale_ns)
        return found

    def _frames_ns(self, stage: Stage, batch: int) -> int:
        return 0 if stage.input is None else batch * self.frame_ns


@dataclass
class RecordedDurations:
    """Provides recorded durations by graph, batch and lane; a run takes one of them at random.

    A batch that was never seen takes the duration in the stage's table, scaled by the ratio of a recorded run of the
    nearest batch to its table. A stage that was never seen takes the table's duration.
    """

    durations_ns: Mapping[tuple[str, int, str], tuple[int, ...]]  # sorted
    table: Table = field(default_factory=Table, repr=False)

    def __post_init__(self) -> None:
        self.seen: dict[tuple[str, str], list[int]] = {}  # graph, lane -> batches
        for graph, batch, lane in sorted(self.durations_ns):
            self.seen.setdefault((graph, lane), []).append(batch)

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return self._scaled_ns(stage, batch, lane, 0.0)

    def draw_ns(self, stage: Stage, batch: int, lane: str, random: Random) -> int:
        return self._scaled_ns(stage, batch, lane, random.random())

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Ignores the observation: recorded durations do not change."""

    def _scaled_ns(self, stage: Stage, batch: int, lane: str, quantile: float) -> int:
        batches = self.seen.get((stage.graph, lane))
        if not batches:
            return self.table.duration_ns(stage, batch, lane)
        nearest = min(batches, key=lambda seen: (abs(seen - batch), seen))
        runs = self.durations_ns[stage.graph, nearest, lane]
        took_ns = runs[int(quantile * len(runs))]
        if nearest == batch:
            return took_ns
        expected_ns = [self.table.duration_ns(stage, size, lane) for size in (batch, nearest)]
        return max(1, took_ns * expected_ns[0] // expected_ns[1])
