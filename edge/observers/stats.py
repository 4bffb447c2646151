"""Publishes the state of the box every second, retained: what came in and went out, who is late."""

from collections.abc import Callable, Mapping
from typing import Any

from edge.events import Event, Time
from edge.observers.metrics import Metrics
from edge.protocols import Moment
from edge.state import State

Report = Callable[[Mapping[str, Any]], None]


class Stats:
    """Observer. `models` tells of each model's variant and drift; `counters` of the network's own troubles."""

    def __init__(
        self,
        metrics: Metrics,
        report: Report,
        models: Callable[[State], Mapping[str, Any]],
        counters: Callable[[], Mapping[str, int]],
        wall: Callable[[], float],
        period_ns: int,
    ):
        self.metrics, self.report, self.models, self.counters = metrics, report, models, counters
        self.wall, self.period_ns = wall, period_ns
        self.told_ns: Time = 0

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        if moment.now - self.told_ns >= self.period_ns:
            self.told_ns = moment.now
            self.report(self.table(moment.now, moment.state))
        return ()

    def table(self, now: Time, state: State, final: bool = False) -> dict[str, Any]:
        return {
            "time": round(self.wall(), 3),
            **self.metrics.snapshot(now),
            "models": dict(self.models(state)),
            "network": dict(self.counters()),
            "memory_bytes": resident_bytes(),
            "final": final,
        }


def resident_bytes() -> int | None:
    """Memory of this process (RSS), where the system says."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return None
