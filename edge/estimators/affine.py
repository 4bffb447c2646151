"""How a lane differs from the profile, followed run by run, and a high quantile of what is left over."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar

from edge.core.interfaces import About
from edge.estimators.table import Table
from porting.variant import Stage

GRAPHS_MAX = 1_024  # new graphs come with promotions; the oldest are learnt again if they come back
SLOPE_MIN = 0.01  # of the profile's: more is never quicker
LEAST = 1e-6  # of the profile: no run takes no time
SURPRISE_MAX = 1.5  # a run counts as at most so many times what was expected: one hiccup is no trend, several are


@dataclass(slots=True)
class RecursiveLine:
    """Recursive least squares with forgetting: duration / profile = slope + height * (profile of one / profile).

    `height` is what a run costs beyond or below the profile whatever its batch, so in time it is an affine function of
    the profile. Kept as normal equations, which need no inverse of what has not been seen. What is forgotten is made up
    for at the present line: where no new batch sizes come, the line stays where it is.
    """

    slope: float
    height: float
    weight: float  # runs that the profile counts for
    aa: float
    ab: float
    bb: float
    ay: float
    by: float

    @classmethod
    def at_profile(cls, weight: float) -> "RecursiveLine":
        return cls(1.0, 0.0, weight, weight, 0.0, weight, weight, 0.0)

    def ratio(self, single: float) -> float:
        """Duration / profile. `single`: profile of one / profile."""
        return max(self.slope + self.height * single, LEAST)

    def follow(self, single: float, ratio: float, keep: float) -> None:
        """One run. `keep`: of what earlier ones count."""
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
    """Of one graph on one lane. `left_over` and `answers`, by batch, are worked out when asked for after a run."""

    line: RecursiveLine
    last: deque[tuple[float, float]]  # (single, duration / profile)
    level: float  # of the quantile
    left_over: float = field(default=0.0, compare=False, repr=False)
    answers: dict[int, int] = field(default_factory=dict, compare=False, repr=False)

    def add(self, single: float, ratio: float, keep: float) -> None:
        self.line.follow(single, ratio, keep)
        self.last.append((single, ratio))
        self.left_over = 0.0
        self.answers.clear()

    def adapt(self, missed: bool, quantile: float, pace: float) -> None:
        """Misses lift the level, hits let it sink, so that in the long run there are as many as there should be."""
        self.level = min(1.0, max(0.5, self.level + pace * (missed - (1 - quantile))))


@dataclass
class Affine:
    """Expected duration times the `quantile` of how far the last `runs` were from what would be expected of them now,
    times `margin`; the `outliers` longest of them left out. Which quantile that takes on a lane that changes is adapted
    at `pace`: each miss lifts it, each hit lets it sink. Never falls with the batch size.

    `keep`: of what earlier runs count, with each new one. `prior`: runs that the profile counts for. Batch sizes that
    have not run are learnt of from those that have. Before there are `runs_min` it is the profile, times `margin`.
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
        deviations=("Affine in the profile rather than in the batch, since durations have steps that a line has not.",),
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
        known = self._known.get((stage.graph, lane))
        if known is None:
            return max(1, round(self.table.duration_ns(stage, batch, lane) * self.margin))
        duration_ns = known.answers.get(batch)
        if duration_ns is None:
            duration_ns = known.answers[batch] = self._high_ns(known, stage, batch, lane)
        return duration_ns

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
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
        """As of exchangeable runs: the next one is above the k-th of n with the chance 1 - k / (n + 1)."""
        if not known.left_over:
            slope, height, count = known.line.slope, known.line.height, len(known.last)
            apart = sorted([ratio / max(slope + height * single, LEAST) for single, ratio in known.last])
            rank = min(count, ceil(known.level * (count + 1) - 1e-9)) - self.outliers
            known.left_over = apart[max(0, rank - 1)]
        return known.left_over
