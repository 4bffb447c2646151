"""Predicts a high quantile of the last runs, as Clockwork (Gujarati et al., OSDI 2020, section 5) does."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import ClassVar

from edge.core.events import NEVER
from edge.estimators.table import Table
from edge.plugins import About
from porting.variant import Stage

WINDOWS_MAX = 4_096  # new graphs come with promotions; the oldest are learnt again if they come back
Key = tuple[str, int, str]  # graph, batch, lane; not stage: a promoted head is a new stage on a known graph


@dataclass(slots=True)
class DurationWindow:
    """Holds the last durations twice, in order of time and in order of size."""

    by_time: deque[int] = field(default_factory=deque)
    by_size: list[int] = field(default_factory=list)

    def add(self, took_ns: int, size_max: int) -> None:
        """Adds one duration and forgets the oldest if there are `size_max` already."""
        if len(self.by_time) == size_max:
            del self.by_size[bisect_left(self.by_size, self.by_time.popleft())]
        self.by_time.append(took_ns)
        insort(self.by_size, took_ns)


@dataclass(slots=True)
class Batches:
    """Holds what is known of one graph on one lane, by batch. `limits` is a cache for batches with few runs."""

    taken_ns: dict[int, int] = field(default_factory=dict)  # batch -> quantile of its measured durations
    limits: dict[int, tuple[int, int]] = field(default_factory=dict, compare=False)

    def levelled(self) -> Iterator[tuple[int, int]]:
        """Yields (batch, ns), both ascending: a batch that is quicker than a smaller one is raised to it."""
        high_ns = 0
        for batch, took_ns in sorted(self.taken_ns.items()):
            high_ns = max(high_ns, took_ns)
            yield batch, high_ns

    def limits_ns(self, batch: int) -> tuple[int, int]:
        """Returns (least, most) for a batch: what smaller ones are known to take, and what larger ones are."""
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
    """Predicts a quantile of the last durations for each graph, batch size and lane, never falling with the batch size.

    Until a batch size has run `runs_min` times its prediction is the profile, within what is known of other batch
    sizes. Raises `ValueError` for options out of range.

    `runs`: number of recent runs that the quantile is taken over.
    `runs_min`: number of runs below which the profile is used, at least 1.
    `quantile`: share of runs that should take no longer than predicted, above 0, at most 1.
    `outliers`: number of longest runs that are ignored, since one hiccup of the system says nothing about the next run.
    `margin`: factor on every prediction, above 0.
    `clock_runs`: number of runs over which a lane's present slowness is measured, as the median of duration / profile;
        durations are then kept as they would be at the profile's clock. 0: durations are kept as measured.
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
            "the clock is not read but inferred from how long runs take, since the core sees no hardware",
            "before there are enough runs the prediction is the profile, not a tenth of a millisecond",
            "a batch is never expected to take less than a smaller one; the paper keeps each batch size apart",
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
    _slowness: dict[str, deque[float]] = field(default_factory=dict, repr=False)  # by lane: last durations / profile
    _clock: dict[str, float] = field(default_factory=dict, repr=False)  # by lane: the median of `_slowness`

    def __post_init__(self) -> None:
        self.table = Table(margin=self.margin)
        if not 0 < self.runs_min <= self.runs or not 0 < self.quantile <= 1 or self.outliers < 0:
            raise ValueError(f"{self}: expected 1 <= runs_min <= runs, a quantile in (0, 1], outliers of 0 or more")

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns the prediction in nanoseconds, at least 1."""
        known_ns = self._learnt.get((stage.graph, batch, lane)) or self._unlearnt_ns(stage, batch, lane)
        return max(1, round(known_ns * self._clock.get(lane, 1.0))) if self.clock_runs else known_ns

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Adds one run to the window of this graph, batch and lane, and updates the prediction."""
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
            # A quantile, not a mean: being early wastes a little time, being late misses a deadline.
            known_ns = window.by_size[max(0, ceil(self.quantile * count) - 1 - self.outliers)]
            self._set(stage.graph, batch, lane, max(1, round(known_ns * self.margin)))

    def _unlearnt_ns(self, stage: Stage, batch: int, lane: str) -> int:
        """Returns the profile's duration, clipped to what is known of smaller and larger batches."""
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
        """Keeps predictions ascending in the batch size: policies find the largest batch in time by binary search."""
        batches.limits.clear()
        self._learnt.update({(graph, batch, lane): took_ns for batch, took_ns in batches.levelled()})

    def _at_profiled_clock(self, stage: Stage, batch: int, lane: str, took_ns: int) -> int:
        """Returns how long the run would have taken if the lane were as quick as when it was profiled."""
        last = self._slowness.setdefault(lane, deque(maxlen=self.clock_runs))
        last.append(took_ns * self.margin / self.table.duration_ns(stage, batch, lane))
        clock = self._clock[lane] = max(median(last), 1e-3)  # keeps the quotient below finite
        return round(took_ns / clock)
