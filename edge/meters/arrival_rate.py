"""Measures arrival rates: counts in buckets of time, and a moving average."""

from collections import deque
from dataclasses import dataclass, field
from math import exp

from edge.core.events import Time


@dataclass(slots=True)
class Series:
    """Holds the counts of one name: of the open bucket, of the closed ones that were not empty, and their average."""

    bucket: int  # number of the open bucket, counted from time 0
    began: int  # number of its first bucket
    open: int = 0
    average: float = 0.0  # count per bucket, exponentially weighted; 0 before the first bucket was closed
    closed: deque[tuple[int, int]] = field(default_factory=deque)  # (bucket, count), ascending


@dataclass
class RateMeter:
    """Counts events by name and reports their rate per second.

    A name that was never counted has the rate 0, and a new one counts as having had the rate 0 before.

    `bucket_ms`: width of a bucket in milliseconds.
    `window_s`: time constant in seconds with which the average forgets (Nexus, SOSP 2019: 10 s).
    `kept_s`: for how many seconds the counts of closed buckets are kept.
    """

    bucket_ms: float = 100.0
    window_s: float = 10.0
    kept_s: float = 60.0
    series: dict[str, Series] = field(default_factory=dict, repr=False)
    began: int | None = field(default=None, repr=False)  # number of the first bucket of any name

    def __post_init__(self) -> None:
        self.bucket_ns = round(self.bucket_ms * 1e6)
        self.kept = round(self.kept_s * 1e9) // self.bucket_ns
        self.fades = exp(-self.bucket_ms / 1e3 / self.window_s)

    def count(self, name: str, now: Time, number: int = 1) -> None:
        """Counts `number` events of a name; `now` never goes backwards."""
        bucket = now // self.bucket_ns
        if self.began is None:
            self.began = bucket
        if (series := self.series.get(name)) is None:
            series = self.series[name] = Series(bucket, bucket)
        self._close(series, bucket)
        series.open += number

    def rate(self, name: str, now: Time) -> float:
        """Returns the events per second, over closed buckets; 0 while there are none."""
        return 0.0 if self.began is None else self._rate(name, now, self.began)

    def rate_since_new(self, name: str, now: Time) -> float:
        """Returns the events per second since this name was first counted; 0 for a name that never was."""
        return self._rate(name, now, self.series[name].began) if name in self.series else 0.0

    def _rate(self, name: str, now: Time, began: int) -> float:
        series, bucket = self.series.get(name), now // self.bucket_ns
        if series is None or bucket <= began:
            return 0.0
        self._close(series, bucket)
        known = 1.0 - self.fades ** (bucket - began)  # sum of the weights so far; dividing by it removes the bias
        return series.average / known * 1e9 / self.bucket_ns

    def rates(self, now: Time) -> dict[str, float]:
        """Returns the rate of every name that was ever counted, in the order of names."""
        return {name: self.rate(name, now) for name in sorted(self.series)}

    def _close(self, series: Series, bucket: int) -> None:
        """Closes the open bucket of a series, and the empty ones after it, up to `bucket`."""
        over = bucket - series.bucket
        if over <= 0:
            return
        series.average = (series.average * self.fades + series.open * (1 - self.fades)) * self.fades ** (over - 1)
        if series.open:
            series.closed.append((series.bucket, series.open))
        series.bucket, series.open = bucket, 0
        while series.closed and series.closed[0][0] < bucket - self.kept:
            series.closed.popleft()
