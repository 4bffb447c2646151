"""A high quantile of the last runs: what Clockwork (Gujarati et al., OSDI 2020, section 5) predicts with."""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from math import ceil

from edge.estimators.table import Table
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
    """Quantile of the last `runs` durations for each graph, batch size and lane; the table until there are `runs_min`.

    The `outliers` longest of them are left out, since one hiccup of the system says nothing about the next run.
    """

    runs: int = 64
    runs_min: int = 8
    quantile: float = 0.99
    outliers: int = 1
    table: Table = field(default_factory=Table)
    _windows: dict[Key, Window] = field(default_factory=dict, repr=False)
    _learnt: dict[Key, int] = field(default_factory=dict, repr=False)

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return self._learnt.get((stage.graph, batch, lane)) or self.table.duration_ns(stage, batch, lane)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
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
            self._learnt[key] = window.by_size[max(0, ceil(self.quantile * count) - 1 - self.outliers)]
