"""Fits a line through the last runs plus a spread, as the code of Clipper (Crankshaw et al., NSDI 2017) does."""

from dataclasses import dataclass, field
from math import sqrt
from typing import ClassVar

from edge.estimators.table import Table
from edge.plugins import About
from porting.variant import Stage

GRAPHS_MAX = 1_024  # new graphs come with promotions; the oldest are learnt again if they come back


@dataclass(slots=True)
class Sums:
    """Holds the runs of one batch size, in units of the profile of a batch of one."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean

    def add(self, took: float, most: int) -> None:
        """Adds one run (Welford's update); if there are `most` already, half of their weight is dropped first."""
        if self.count >= most:
            self.count, self.squares = self.count / 2, self.squares / 2
        self.count += 1
        distance = took - self.mean
        self.mean += distance / self.count
        self.squares += distance * (took - self.mean)


@dataclass(slots=True)
class RidgeFit:
    """Holds the fit of one graph on one lane.

    `line` (per item, per batch, standard deviation) and `answers` (by batch) are caches that each run clears.
    """

    unit_ns: int  # profile of a batch of one when the graph first ran
    sums: dict[int, Sums] = field(default_factory=dict)
    line: tuple[float, float, float] | None = field(default=None, compare=False, repr=False)
    answers: dict[int, int] = field(default_factory=dict, compare=False, repr=False)


@dataclass
class Ridge:
    """Predicts (line through the mean durations + deviations * pooled standard deviation) * margin, by batch size.

    Until `runs_min` runs are known the prediction is the profile times `margin`. Raises `ValueError` for options out of
    range.

    `deviations`: standard deviations added to the line, at least 0.
    `margin`: factor on every prediction, above 0.
    `shrink`: number of runs that the line through the profile counts for, as the prior of the fit; above 0.
    `runs`: number of runs of one batch size beyond which half of them is forgotten.
    `runs_min`: number of runs below which the profile is used.
    """

    about: ClassVar[About] = About(
        paper="Crankshaw et al., Clipper, NSDI 2017: its released code",
        sources={
            "deviations": "the released code: 3",
            "margin": "ours: none, the deviations are a margin",
            "shrink": "ours: the code takes the default of its library, towards a line of zero",
            "runs": "ours: bounds the weight of runs at an earlier clock rate",
            "runs_min": "ours: fewer runs say less than the profile",
        },
        deviations=(
            "the code predicts the batch for a duration; here the duration of a batch is predicted, so that all "
            "policies ask the same question",
            "the fit is drawn towards the profile, not towards zero: a line of zero would promise too much",
        ),
    )

    deviations: float = 3.0
    margin: float = 1.0
    shrink: float = 1.0
    runs: int = 256
    runs_min: int = 8
    table: Table = field(init=False, repr=False)
    _known: dict[tuple[str, str], RidgeFit] = field(default_factory=dict, repr=False)  # by graph and lane

    def __post_init__(self) -> None:
        if self.deviations < 0 or self.margin <= 0 or self.shrink <= 0 or not 1 <= self.runs_min <= self.runs:
            raise ValueError(f"{self}: expected margin and shrink above 0, deviations of 0 or more, runs_min <= runs")
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
        """Adds one run to the sums of the stage's graph on this lane and clears the caches."""
        known = self._known.get((stage.graph, lane))
        if known is None:
            if len(self._known) >= GRAPHS_MAX:
                del self._known[next(iter(self._known))]
            known = self._known[stage.graph, lane] = RidgeFit(self.table.duration_ns(stage, 1, lane))
        known.sums.setdefault(batch, Sums()).add(took_ns / known.unit_ns, self.runs)
        known.line = None
        known.answers.clear()

    def _high_ns(self, known: RidgeFit, stage: Stage, batch: int, lane: str) -> float:
        if sum(sums.count for sums in known.sums.values()) < self.runs_min:
            return self.table.duration_ns(stage, batch, lane)
        if known.line is None:
            known.line = self._fitted(known, stage, lane)
        per_item, per_batch, spread = known.line
        return (per_item * batch + per_batch + self.deviations * spread) * known.unit_ns

    def _fitted(self, known: RidgeFit, stage: Stage, lane: str) -> tuple[float, float, float]:
        """Returns (per item, per batch, pooled standard deviation) in units of `unit_ns`."""
        profiled = [(batch, self.table.duration_ns(stage, batch, lane) / known.unit_ns) for batch in stage.batches]
        prior = fit([(batch, 1.0, took) for batch, took in profiled], (0.0, 0.0), 1e-9)
        line = fit([(batch, sums.count, sums.mean) for batch, sums in known.sums.items()], prior, self.shrink)
        freedom = sum(max(0.0, sums.count - 1) for sums in known.sums.values())
        pooled = sum(sums.squares for sums in known.sums.values()) / freedom if freedom else 0.0
        return (*line, sqrt(pooled))


def fit(points: list[tuple[int, float, float]], prior: tuple[float, float], weight: float) -> tuple[float, float]:
    """Returns slope and intercept of the least-squares line through the points, drawn towards `prior` (ridge).

    A negative slope is replaced by 0, since a larger batch never takes less time.

    `points`: (batch, number of runs, mean duration).
    `prior`: slope and intercept of the line that the fit is drawn towards.
    `weight`: number of runs that the prior counts for, above 0.
    """
    xx, x1, one, xy, y1 = weight, 0.0, weight, weight * prior[0], weight * prior[1]
    for batch, runs, took in points:
        xx, x1, one = xx + runs * batch * batch, x1 + runs * batch, one + runs
        xy, y1 = xy + runs * batch * took, y1 + runs * took
    determinant = xx * one - x1 * x1
    slope = (xy * one - x1 * y1) / determinant
    return (slope, (xx * y1 - x1 * xy) / determinant) if slope > 0 else (0.0, y1 / one)
