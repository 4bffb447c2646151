"""A high quantile of the last runs: what Clockwork (Gujarati et al., OSDI 2020, section 5) predicts with."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import ClassVar

from edge.core.events import NEVER
from edge.core.interfaces import About
from edge.estimators.table import Table
from porting.variant import Stage

WINDOWS_MAX = 4_096  # new graphs come with promotions; the oldest are learnt again if they come back
Key = tuple[str, int, str]  # graph, batch, lane: a promoted head is a new stage on a graph whose durations are known


@dataclass(slots=True)
class DurationWindow:
    """The last durations, in order of time and in order of size."""

    by_time: deque[int] = field(default_factory=deque)
    by_size: list[int] = field(default_factory=list)

    def add(self, took_ns: int, size_max: int) -> None:
        if len(self.by_time) == size_max:
            del self.by_size[bisect_left(self.by_size, self.by_time.popleft())]
        self.by_time.append(took_ns)
        insort(self.by_size, took_ns)


@dataclass(slots=True)
class Batches:
    """Of one graph on one lane. `limits`: by batch that has not run often enough, until something is learnt."""

    taken_ns: dict[int, int] = field(default_factory=dict)  # batch -> quantile, as measured
    limits: dict[int, tuple[int, int]] = field(default_factory=dict, compare=False)

    def levelled(self) -> Iterator[tuple[int, int]]:
        """(batch, ns), both ascending."""
        high_ns = 0
        for batch, took_ns in sorted(self.taken_ns.items()):
            high_ns = max(high_ns, took_ns)
            yield batch, high_ns

    def limits_ns(self, batch: int) -> tuple[int, int]:
        """No less than smaller batches are known to take, no more than larger ones."""
        if batch not in self.limits:
            least_ns, most_ns = 0, NEVER
            for size, took_ns in self.levelled():
                if size > batch:
                    most_ns = took_ns
                    break
                least_ns = took_ns
            self.limits[batch] = least_ns, most_ns
        return self.limits[batch]


@dataclass
class Rolling:
    """Quantile of the last `runs` durations for each graph, batch size and lane, never falling with the batch size;
    the profile until there are `runs_min`.

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
            "A batch is never expected to take less than a smaller one; the paper keeps each batch size apart.",
        ),
    )

    runs: int = 64
    runs_min: int = 8
    quantile: float = 0.99
    outliers: int = 1
    margin: float = 1.0
    clock_runs: int = 0
    table: Table = field(init=False, repr=False)
    _windows: dict[Key, DurationWindow] = field(default_factory=dict, repr=False)
    _learnt: dict[Key, int] = field(default_factory=dict, repr=False)
    _batches: dict[tuple[str, str], Batches] = field(default_factory=dict, repr=False)  # by graph and lane
    _slowness: dict[str, deque[float]] = field(default_factory=dict, repr=False)  # by lane: the last runs / profile
    _clock: dict[str, float] = field(default_factory=dict, repr=False)  # by lane: their median

    def __post_init__(self) -> None:
        self.table = Table(margin=self.margin)
        if not 0 < self.runs_min <= self.runs or not 0 < self.quantile <= 1 or self.outliers < 0:
            raise ValueError(f"{self}: expected 1 <= runs_min <= runs, a quantile in (0, 1], outliers of 0 or more")

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        known_ns = self._learnt.get((stage.graph, batch, lane)) or self._unlearnt_ns(stage, batch, lane)
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
                self._forget(*oldest)
            window = self._windows[key] = DurationWindow()
        window.add(max(1, took_ns), self.runs)
        count = len(window.by_size)
        if count >= self.runs_min:
            # A quantile, not a mean: being early wastes a little, being late breaks a promise.
            known_ns = window.by_size[max(0, ceil(self.quantile * count) - 1 - self.outliers)]
            self._set(stage.graph, batch, lane, max(1, round(known_ns * self.margin)))

    def _unlearnt_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """By the profile, within what is known of other batch sizes."""
        profiled_ns = self.table.duration_ns(stage, batch, lane)
        if (batches := self._batches.get((stage.graph, lane))) is None:
            return profiled_ns
        least_ns, most_ns = batches.limits_ns(batch)
        return min(max(profiled_ns, least_ns), most_ns)

    def _set(self, graph: str, batch: int, lane: str, took_ns: int) -> None:
        batches = self._batches.setdefault((graph, lane), Batches())
        if batches.taken_ns.get(batch) != took_ns:
            batches.taken_ns[batch] = took_ns
            self._level(graph, lane, batches)

    def _forget(self, graph: str, batch: int, lane: str) -> None:
        if self._learnt.pop((graph, batch, lane), None) is not None:
            batches = self._batches[graph, lane]
            del batches.taken_ns[batch]
            self._level(graph, lane, batches)
            if not batches.taken_ns:
                del self._batches[graph, lane]

    def _level(self, graph: str, lane: str, batches: Batches) -> None:
        """Policies search for the largest batch in time by halving, which asks for durations that do not fall."""
        batches.limits.clear()
        self._learnt.update({(graph, batch, lane): took_ns for batch, took_ns in batches.levelled()})

    def _at_profiled_clock(self, stage: Stage, batch: int, lane: str, took_ns: int) -> int:
        """How long the run would have taken, were the lane as quick as when it was profiled."""
        last = self._slowness.setdefault(lane, deque(maxlen=self.clock_runs))
        last.append(took_ns * self.margin / self.table.duration_ns(stage, batch, lane))
        clock = self._clock[lane] = max(median(last), 1e-3)
        return round(took_ns / clock)
