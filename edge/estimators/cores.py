"""Predicts durations by batch and number of cores: runs on some numbers of cores inform the prediction for others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge.estimators.ridge import GRAPHS_MAX, Sums
from edge.estimators.table import Table
from edge.plugins import About
from porting.variant import Stage

Key = tuple[str, str]  # graph, and "" for all lanes of `threads` together or the name of any other lane
Fit = tuple[NDArray[Any], float]  # coefficients g, d, e, h, and standard deviation, in units of `unit_ns`


@dataclass(slots=True)
class CoresFit:
    """Holds the fit of one graph. `fit` and `answers` (by batch and cores) are caches that each run clears."""

    unit_ns: int  # profile of a batch of one when the graph first ran
    sums: dict[tuple[int, int], Sums] = field(default_factory=dict)  # by batch and cores
    fit: Fit | None = field(default=None, compare=False, repr=False)
    answers: dict[tuple[int, int], int] = field(default_factory=dict, compare=False, repr=False)


@dataclass
class Cores:
    """Predicts (g * b / c + d * b + e / c + h + deviations * standard deviation) * margin for a batch b on c cores.

    The coefficients g, d, e and h are fitted by least squares over all lanes of `threads` together; any other lane has
    a fit of its own, with one core. Until `runs_min` runs are known the prediction is the profile. Raises `ValueError`
    for options out of range.

    `threads`: lane -> number of cores that work on one run there, at least 1.
    `deviations`: pooled standard deviations added to the mean, at least 0.
    `margin`: factor on every prediction, above 0.
    `shrink`: number of runs that the profile counts for, as the prior of the fit, for any number of cores; above 0.
    `runs`: number of runs of one batch size on one number of cores beyond which half of them is forgotten.
    `runs_min`: number of runs below which the profile is used.
    """

    about: ClassVar[About] = About(
        paper="Sponge: Razavi et al., EuroMLSys 2024 (arXiv 2404.00704)",
        sources={
            "threads": "ours: as the devices of the box are set up",
            "deviations": "ours: as in `Ridge`",
            "margin": "ours: none, the deviations are a margin",
            "shrink": "ours: as in `Ridge`",
            "runs": "ours: bounds the weight of runs at an earlier clock rate",
            "runs_min": "ours: fewer runs say less than the profile",
        },
        deviations=("fitted while serving, not once before: porting profiles on one number of cores",),
    )

    threads: Mapping[str, int] = field(default_factory=dict)
    deviations: float = 3.0
    margin: float = 1.0
    shrink: float = 1.0
    runs: int = 256
    runs_min: int = 8
    table: Table = field(init=False, repr=False)
    _known: dict[Key, CoresFit] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.deviations < 0 or self.margin <= 0 or self.shrink <= 0 or not 1 <= self.runs_min <= self.runs:
            raise ValueError(f"{self}: expected margin and shrink above 0, deviations of 0 or more, runs_min <= runs")
        if any(cores < 1 for cores in self.threads.values()):
            raise ValueError(f"{self}: a lane has at least one thread")
        self.table = Table()

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns the prediction in nanoseconds, at least 1."""
        known = self._known.get(self._key(stage, lane))
        if known is None:
            return max(1, round(self.table.duration_ns(stage, batch, lane) * self.margin))
        point = batch, self.threads.get(lane, 1)
        if point not in known.answers:
            known.answers[point] = max(1, round(self._high_ns(known, stage, *point) * self.margin))
        return known.answers[point]

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Adds one run to the sums of the stage's graph and clears the caches."""
        key = self._key(stage, lane)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= GRAPHS_MAX:
                del self._known[next(iter(self._known))]
            known = self._known[key] = CoresFit(self.table.duration_ns(stage, 1, lane))
        point = batch, self.threads.get(lane, 1)
        known.sums.setdefault(point, Sums()).add(took_ns / known.unit_ns, self.runs)
        known.fit = None
        known.answers.clear()

    def _key(self, stage: Stage, lane: str) -> Key:
        return stage.graph, "" if lane in self.threads else lane

    def _high_ns(self, known: CoresFit, stage: Stage, batch: int, cores: int) -> float:
        if sum(sums.count for sums in known.sums.values()) < self.runs_min:
            return self.table.duration_ns(stage, batch, "")
        if known.fit is None:
            known.fit = self._fitted(known, stage)
        (g, d, e, h), spread = known.fit[0].tolist(), known.fit[1]
        return float((max(0.0, g / cores + d) * batch + e / cores + h + self.deviations * spread) * known.unit_ns)

    def _fitted(self, known: CoresFit, stage: Stage) -> Fit:
        profiled = (
            (batch, 1, 1.0, self.table.duration_ns(stage, batch, "") / known.unit_ns) for batch in stage.batches
        )
        (slope, height) = solved(profiled, 2, np.zeros(2), 1e-9)
        runs = ((batch, cores, sums.count, sums.mean) for (batch, cores), sums in known.sums.items())
        found = solved(runs, 4, np.array([0.0, slope, 0.0, height]), self.shrink)
        freedom = sum(max(0.0, sums.count - 1) for sums in known.sums.values())
        pooled = sum(sums.squares for sums in known.sums.values()) / freedom if freedom else 0.0
        return found, sqrt(pooled)


def solved(
    points: Iterator[tuple[int, int, float, float]], columns: int, prior: NDArray[Any], weight: float
) -> NDArray[Any]:
    """Returns least-squares coefficients through the points, drawn towards `prior` with this weight (ridge).

    `points`: (batch, cores, number of runs, mean duration).
    `columns`: 2 for the features b and 1, or 4 for b / c, b, 1 / c and 1.
    `prior`: shape (columns,).
    """
    matrix, right = weight * np.eye(columns), weight * prior
    for batch, cores, runs, took in points:
        row = np.array([batch, 1.0] if columns == 2 else [batch / cores, batch, 1 / cores, 1.0])
        matrix += runs * np.outer(row, row)
        right = right + runs * took * row
    return np.linalg.solve(matrix, right)
