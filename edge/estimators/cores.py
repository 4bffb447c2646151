"""Durations by batch and number of cores: what runs on some numbers of cores says what others would take."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge.core.interfaces import About
from edge.estimators.ridge import GRAPHS_MAX, Sums
from edge.estimators.table import Table
from porting.variant import Stage

Key = tuple[str, str]  # graph, and the lane where that one has no cores of its own
Fit = tuple[NDArray[Any], float]  # coefficients, spread


@dataclass(slots=True)
class CoresFit:
    """Of one graph. `fit` and `answers`, by batch and cores, are worked out when asked for after a run."""

    unit_ns: int  # the profile of a batch of one when it was first heard of
    sums: dict[tuple[int, int], Sums] = field(default_factory=dict)  # by batch and cores
    fit: Fit | None = field(default=None, compare=False, repr=False)
    answers: dict[tuple[int, int], int] = field(default_factory=dict, compare=False, repr=False)


@dataclass
class Cores:
    """(g * b / c + d * b + e / c + h + `deviations` * pooled standard deviation) * `margin`, for a batch of b on c
    cores; g, d, e and h by least squares over all lanes of `threads`. A lane that is not among them keeps to itself.

    `threads`: lane -> how many cores work on one run there. The fit is drawn towards the profile, for any number of
    cores, with the weight of `shrink` runs, and is the profile until there are `runs_min`. Beyond `runs` of one batch
    on one number of cores, half of them is forgotten.
    """

    about: ClassVar[About] = About(
        paper="Sponge: Razavi et al., EuroMLSys 2024 (arXiv 2404.00704)",
        sources={
            "threads": "ours: as the devices of the box are set up",
            "deviations": "ours: as in the ridge line",
            "margin": "ours: none, the deviations are a margin",
            "shrink": "ours: as in the ridge line",
            "runs": "ours: a bound on what an old clock counts",
            "runs_min": "ours: fewer runs say less than the profile",
        },
        deviations=("fitted while serving, not once before: a profile is made on one number of cores",),
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
        known = self._known.get(self._key(stage, lane))
        if known is None:
            return max(1, round(self.table.duration_ns(stage, batch, lane) * self.margin))
        point = batch, self.threads.get(lane, 1)
        if point not in known.answers:
            known.answers[point] = max(1, round(self._high_ns(known, stage, *point) * self.margin))
        return known.answers[point]

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
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
    """Least squares through (batch, cores, runs, duration), and with `weight` to the `prior`. Columns: b and 1, or
    b / c, b, 1 / c and 1.
    """
    matrix, right = weight * np.eye(columns), weight * prior
    for batch, cores, runs, took in points:
        row = np.array([batch, 1.0] if columns == 2 else [batch / cores, batch, 1 / cores, 1.0])
        matrix += runs * np.outer(row, row)
        right = right + runs * took * row
    return np.linalg.solve(matrix, right)
