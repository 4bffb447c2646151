"""A high quantile of the last runs: what Clockwork (Gujarati et al., OSDI 2020, section 5) predicts with."""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import ClassVar

from edge.estimators.table import Table
from edge.protocols import About
from porting.variant import Stage

WINDOWS_MAX = 4_096  # new graphs come with promotions; the oldest are learnt again if they come back
Key = tuple[str, int, str]  # graph, batch, lane: a promoted head is a new stage on a graph whose durations are known


@dataclass(slots=True)
class Window:
    """The last durations, in order of time and in order of size."""

    by_time: deque[int] = field(default_factory=deque)
    by_size: list[int] = field(default_factory=list)

    def add(self, took_ns: int, size_max: int) -> None:
        if len(self.by_time) == size_max:
            del self.by_size[bisect_left(self.by_size, self.by_time.popleft())]
        self.by_time.append(took_ns)
        insort(self.by_size, took_ns)


@dataclass
class Rolling:
    """Quantile of the last `runs` durations for each graph, batch size and lane; the profile until there are
    `runs_min`.

    The `outliers` longest of them are left out, since one hiccup of the system says nothing about the next run.
    `margin`: every answer is this many times that. `clock_runs`: durations are kept as at the profile's clock, and a
    lane's present slowness is the median of its last so many runs over their profile; 0: as they were measured.
    """

    about: ClassVar[About] = About(
        paper="Gujarati et al., Serving DNNs like Clockwork, OSDI 2020, section 5",
        sources={
            "runs": "ours: 64, so that a p99 is more than the maximum; the paper takes 10",
            "runs_min": "ours: fewer runs than this say less than the profile",
            "quantile": "the paper",
            "outliers": "ours: a hiccup of the system is no property of the model; the paper leaves out none",
            "margin": "ours: none, the quantile is a margin",
            "clock_runs": "ours: off; the published code scales by the clock that the GPU reports",
        },
        deviations=(
            "The clock is not read but inferred from how long runs take: the core sees no hardware.",
            "Before there are enough runs it says what the profile says, not a tenth of a millisecond.",
        ),
    )

    runs: int = 64
    runs_min: int = 8
    quantile: float = 0.99
    outliers: int = 1
    margin: float = 1.0
    clock_runs: int = 0
    table: Table = field(init=False, repr=False)
    _windows: dict[Key, Window] = field(default_factory=dict, repr=False)
    _learnt: dict[Key, int] = field(default_factory=dict, repr=False)
    _slowness: dict[str, deque[float]] = field(default_factory=dict, repr=False)  # by lane: the last runs / profile
    _clock: dict[str, float] = field(default_factory=dict, repr=False)  # by lane: their median

    def __post_init__(self) -> None:
        self.table = Table(margin=self.margin)
        if not 0 < self.runs_min <= self.runs or not 0 < self.quantile <= 1 or self.outliers < 0:
            raise ValueError(f"{self}: expected 1 <= runs_min <= runs, a quantile in (0, 1], outliers of 0 or more")

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        known_ns = self._learnt.get((stage.graph, batch, lane)) or self.table.duration_ns(stage, batch, lane)
        return max(1, round(known_ns * self._clock.get(lane, 1.0))) if self.clock_runs else known_ns

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        if self.clock_runs:
            took_ns = self._at_profiled_clock(stage, batch, lane, took_ns)
        key = (stage.graph, batch, lane)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= WINDOWS_MAX:
                oldest = next(iter(self._windows))
                del self._windows[oldest]
                self._learnt.pop(oldest, None)
            window = self._windows[key] = Window()
        window.add(max(1, took_ns), self.runs)
        count = len(window.by_size)
        if count >= self.runs_min:
            # A quantile, not a mean: being early wastes a little, being late breaks a promise.
            known_ns = window.by_size[max(0, ceil(self.quantile * count) - 1 - self.outliers)]
            self._learnt[key] = max(1, round(known_ns * self.margin))

    def _at_profiled_clock(self, stage: Stage, batch: int, lane: str, took_ns: int) -> int:
        """How long the run would have taken, were the lane as quick as when it was profiled."""
        last = self._slowness.setdefault(lane, deque(maxlen=self.clock_runs))
        last.append(took_ns * self.margin / self.table.duration_ns(stage, batch, lane))
        clock = self._clock[lane] = max(median(last), 1e-3)
        return round(took_ns / clock)
