"""Predicts from mean and standard deviation of the last runs, as Nexus (Shen et al., SOSP 2019) plans."""

from collections import deque
from dataclasses import dataclass, field
from math import sqrt
from typing import ClassVar

from edge.estimators.table import Table, monotone, through
from edge.plugins import About
from porting.variant import Stage

GRAPHS_MAX = 1_024  # new graphs come with promotions; the oldest are learnt again if they come back


@dataclass(slots=True)
class Runs:
    """Holds the last durations of one batch size with their sums, as integers so that no rounding error accumulates."""

    last: deque[int] = field(default_factory=deque)
    sum_ns: int = 0
    squares: int = 0  # sum of squares, ns²

    def add(self, took_ns: int, most: int) -> None:
        """Adds one duration and forgets the oldest if there are `most` already."""
        if len(self.last) == most:
            gone_ns = self.last.popleft()
            self.sum_ns -= gone_ns
            self.squares -= gone_ns * gone_ns
        self.last.append(took_ns)
        self.sum_ns += took_ns
        self.squares += took_ns * took_ns

    def high_ns(self, deviations: float) -> int:
        """Returns the mean plus so many standard deviations, in nanoseconds, at least 1."""
        count = len(self.last)
        variance = (count * self.squares - self.sum_ns * self.sum_ns) / (count * count)
        return max(1, round(self.sum_ns / count + deviations * sqrt(variance)))


@dataclass(slots=True)
class RunHistory:
    """Holds the runs of one graph on one lane, by batch. `answers` is a cache that each run clears."""

    runs: dict[int, Runs] = field(default_factory=dict)
    answers: dict[int, int] = field(default_factory=dict, compare=False, repr=False)


@dataclass
class MeanStd:
    """Predicts (mean + deviations * standard deviation) * margin over the last runs of each batch size on each lane.

    Only batch sizes that have run `runs_min` times count. Between them predictions are interpolated linearly; outside
    of them the prediction is as many times the profile as at the nearest one; without any it is the profile times
    `margin`. Raises `ValueError` for options out of range.

    `deviations`: standard deviations added to the mean, at least 0.
    `margin`: factor on every prediction, above 0.
    `runs`: number of recent runs of one batch size that are kept.
    `runs_min`: number of runs below which a batch size is not used, at least 2.
    """

    about: ClassVar[About] = About(
        paper="Shen et al., Nexus, SOSP 2019",
        sources={
            "deviations": "the released code: mean + std",
            "margin": "the released code: 1.15",
            "runs": "ours: the released code profiles once, before serving",
            "runs_min": "ours: fewer runs say less than the profile",
        },
        deviations=("learns while it serves; the paper profiles before",),
    )

    deviations: float = 1.0
    margin: float = 1.15
    runs: int = 64
    runs_min: int = 8
    table: Table = field(init=False, repr=False)
    _known: dict[tuple[str, str], RunHistory] = field(default_factory=dict, repr=False)  # by graph and lane

    def __post_init__(self) -> None:
        if self.deviations < 0 or self.margin <= 0 or not 2 <= self.runs_min <= self.runs:
            raise ValueError(f"{self}: expected deviations of 0 or more, a margin above 0, 2 <= runs_min <= runs")
        self.table = Table()

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns the prediction in nanoseconds, at least 1."""
        known = self._known.get((stage.graph, lane))
        if known is None:
            return max(1, round(self.table.duration_ns(stage, batch, lane) * self.margin))
        duration_ns = known.answers.get(batch)
        if duration_ns is None:
            duration_ns = known.answers[batch] = max(1, round(self._high_ns(known, stage, batch, lane) * self.margin))
        return duration_ns

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Adds one run to the history of the stage's graph on this lane."""
        known = self._known.get((stage.graph, lane))
        if known is None:
            if len(self._known) >= GRAPHS_MAX:
                del self._known[next(iter(self._known))]
            known = self._known[stage.graph, lane] = RunHistory()
        known.runs.setdefault(batch, Runs()).add(max(1, took_ns), self.runs)
        known.answers.clear()

    def _high_ns(self, known: RunHistory, stage: Stage, batch: int, lane: str) -> int:
        enough = {size: runs for size, runs in known.runs.items() if len(runs.last) >= self.runs_min}
        points = monotone({size: runs.high_ns(self.deviations) for size, runs in enough.items()})

        def profile_ns(size: int) -> int:
            return self.table.duration_ns(stage, size, lane)

        return through(points, profile_ns, batch) if points else profile_ns(batch)
