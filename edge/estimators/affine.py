"""Follows run by run how a lane deviates from the profile, and adds a high quantile of the remaining error."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar

from edge.estimators.table import Table
from edge.plugins import About
from porting.variant import Stage

GRAPHS_MAX = 1_024  # new graphs come with promotions; the oldest are learnt again if they come back
SLOPE_MIN = 0.01  # relative to the profile: a larger batch never takes less time
LEAST = 1e-6  # relative to the profile: every run takes some time
SURPRISE_MAX = 1.5  # a run counts as at most so many times its expectation: one hiccup is no trend, several are


@dataclass(slots=True)
class RecursiveLine:
    """Fits duration / profile = slope + height * (profile of one / profile) by recursive least squares with forgetting.

    `height` is what a run costs above or below the profile whatever its batch, so in time the fit is an affine function
    of the profile. It is kept as normal equations, which need no inverse before there is enough data. Forgotten weight
    is replaced by weight on the present line, so the line stays where it is while no new batch sizes are seen.
    """

    slope: float
    height: float
    weight: float  # number of runs that the profile counts for
    aa: float  # sums of the normal equations; a = 1, b = profile of one / profile, y = duration / profile
    ab: float
    bb: float
    ay: float
    by: float

    @classmethod
    def at_profile(cls, weight: float) -> "RecursiveLine":
        """Returns the line that predicts the profile itself, with the weight of so many runs."""
        return cls(1.0, 0.0, weight, weight, 0.0, weight, weight, 0.0)

    def ratio(self, single: float) -> float:
        """Returns the expected duration / profile, above 0; `single` is the profile of a batch of one / profile."""
        return max(self.slope + self.height * single, LEAST)

    def follow(self, single: float, ratio: float, keep: float) -> None:
        """Updates the line with one run of duration / profile `ratio`; earlier runs keep the share `keep`."""
        ratio = min(ratio, SURPRISE_MAX * self.ratio(single))
        fill = (1 - keep) * self.weight
        self.aa = keep * self.aa + fill + 1
        self.ab = keep * self.ab + single
        self.bb = keep * self.bb + fill + single * single
        self.ay = keep * self.ay + fill * self.slope + ratio
        self.by = keep * self.by + fill * self.height + ratio * single
        determinant = self.aa * self.bb - self.ab * self.ab
        self.slope = (self.ay * self.bb - self.ab * self.by) / determinant
        if self.slope < SLOPE_MIN:
            self.slope = SLOPE_MIN
        self.height = (self.by - self.ab * self.slope) / self.bb


@dataclass(slots=True)
class AffineFit:
    """Holds the fit of one graph on one lane. `left_over` and `answers` (by batch) are caches that each run clears."""

    line: RecursiveLine
    last: deque[tuple[float, float]]  # (single, duration / profile)
    level: float  # of the quantile, 0.5..1
    left_over: float = field(default=0.0, compare=False, repr=False)
    answers: dict[int, int] = field(default_factory=dict, compare=False, repr=False)

    def add(self, single: float, ratio: float, keep: float) -> None:
        """Updates the fit with one run and clears the caches."""
        self.line.follow(single, ratio, keep)
        self.last.append((single, ratio))
        self.left_over = 0.0
        self.answers.clear()

    def adapt(self, missed: bool, quantile: float, pace: float) -> None:
        """Raises the level after a miss and lowers it after a hit, so that a share `quantile` of runs is in time."""
        self.level = min(1.0, max(0.5, self.level + pace * (missed - (1 - quantile))))


@dataclass
class Affine:
    """Predicts expected duration * quantile of recent runs over their expectation * margin; never falls with the batch.

    The expected duration comes from a line that follows the runs (`RecursiveLine`), so batch sizes that have not run
    are learnt from those that have. The level of the quantile adapts: each miss raises it, each hit lowers it. Until
    `runs_min` runs are known the prediction is the profile times `margin`. Raises `ValueError` for options out of
    range.

    `quantile`: share of runs that should take no longer than predicted, 0..1, both excluded.
    `keep`: share of the weight of earlier runs that is kept with each new one, 0..1, both excluded.
    `prior`: number of runs that the profile counts for, above 0.
    `runs`: number of recent runs that the quantile is taken over.
    `runs_min`: number of runs below which the profile is used.
    `outliers`: number of longest runs that are ignored.
    `pace`: step size with which the level of the quantile adapts.
    `margin`: factor on every prediction, above 0.
    """

    about: ClassVar[About] = About(
        paper="recursive least squares as in Zhao and Georgantas, MAIoT 2025; above it adaptive conformal inference "
        "(Gibbs and Candès, NeurIPS 2021)",
        sources={
            "quantile": "Clockwork (OSDI 2020): a p99",
            "keep": "ours: half of what is known is gone after 34 runs, a second under load",
            "prior": "ours: two runs, so that one batch size alone does not decide on the others",
            "runs": "ours: with 100 and no outliers, the longest is the p99",
            "runs_min": "ours: fewer runs say less than the profile",
            "outliers": "ours: a hiccup of the system is no property of the model",
            "pace": "Gibbs and Candès: 0.005",
            "margin": "ours: none, the quantile is a margin",
        },
        deviations=("affine in the profile rather than in the batch: durations have steps that a line cannot follow",),
    )

    quantile: float = 0.99
    keep: float = 0.98
    prior: float = 2.0
    runs: int = 100
    runs_min: int = 8
    outliers: int = 1
    pace: float = 0.005
    margin: float = 1.0
    table: Table = field(init=False, repr=False)
    _known: dict[tuple[str, str], AffineFit] = field(default_factory=dict, repr=False)  # by graph and lane

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1 or not 0 < self.keep < 1 or self.prior <= 0 or self.margin <= 0:
            raise ValueError(f"{self}: expected quantile and keep between 0 and 1, prior and margin above 0")
        if not 1 <= self.runs_min <= self.runs or self.outliers < 0:
            raise ValueError(f"{self}: expected 1 <= runs_min <= runs, outliers of 0 or more")
        self.table = Table()

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns the prediction in nanoseconds, at least 1."""
        known = self._known.get((stage.graph, lane))
        if known is None:
            return max(1, round(self.table.duration_ns(stage, batch, lane) * self.margin))
        duration_ns = known.answers.get(batch)
        if duration_ns is None:
            duration_ns = known.answers[batch] = self._high_ns(known, stage, batch, lane)
        return duration_ns

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Updates the fit of the stage's graph on this lane with one run."""
        known = self._known.get((stage.graph, lane))
        if known is None:
            if len(self._known) >= GRAPHS_MAX:
                del self._known[next(iter(self._known))]
            line = RecursiveLine.at_profile(self.prior)
            known = self._known[stage.graph, lane] = AffineFit(line, deque(maxlen=self.runs), self.quantile)
        profile_ns = self.table.duration_ns(stage, batch, lane)
        single, ratio = self.table.duration_ns(stage, 1, lane) / profile_ns, max(1, took_ns) / profile_ns
        if len(known.last) >= self.runs_min:
            known.adapt(ratio > known.line.ratio(single) * self._left_over(known), self.quantile, self.pace)
        known.add(single, ratio, self.keep)

    def _high_ns(self, known: AffineFit, stage: Stage, batch: int, lane: str) -> int:
        profile_ns = self.table.duration_ns(stage, batch, lane)
        if len(known.last) < self.runs_min:
            return max(1, round(profile_ns * self.margin))
        single = self.table.duration_ns(stage, 1, lane) / profile_ns
        return max(1, round(known.line.ratio(single) * profile_ns * self._left_over(known) * self.margin))

    def _left_over(self, known: AffineFit) -> float:
        """Returns the quantile of duration / expectation over the last runs.

        For exchangeable runs the next one exceeds the k-th smallest of n with probability 1 - k / (n + 1).
        """
        if not known.left_over:
            slope, height, count = known.line.slope, known.line.height, len(known.last)
            apart = sorted([ratio / max(slope + height * single, LEAST) for single, ratio in known.last])
            # 1e-9: a product that is whole but for a rounding error must not be rounded up.
            rank = min(count, ceil(known.level * (count + 1) - 1e-9)) - self.outliers
            known.left_over = apart[max(0, rank - 1)]
        return known.left_over
