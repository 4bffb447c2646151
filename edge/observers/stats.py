"""Publishes the state of the box periodically as a retained message: frames in and out, latencies, lanes, models."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.observers.metrics import Metrics, slo
from porting.checks.profiler import resident_bytes

NETWORK_DROPS = ("too_large", "bad_envelope", "empty", "stale_retained", "undeliverable", "after_end")

Report = Callable[[Mapping[str, Any]], None]


class Stats:
    """Observes the loop and reports statistics every `period_ns`.

    `models` returns each model's variant and drift, `counters` the troubles of the network, `cache` the counters of
    the prediction cache, and `faults` those of sources that failed, by name.
    """

    def __init__(
        self,
        metrics: Metrics,
        report: Report,
        models: Callable[[State], Mapping[str, Any]],
        counters: Callable[[], Mapping[str, int]],
        wall: Callable[[], float],
        period_ns: int,
        cache: Callable[[], Mapping[str, int]] = dict,
        faults: Callable[[], Mapping[str, int]] = dict,
    ):
        self.metrics, self.report, self.models, self.counters = metrics, report, models, counters
        self.wall, self.period_ns, self.cache, self.faults = wall, period_ns, cache, faults
        self.told_ns: Time = 0

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        if moment.now - self.told_ns >= self.period_ns:
            self.told_ns = moment.now
            self.report(self.table(moment.now, moment.state))
        return ()

    def table(self, now: Time, state: State, final: bool = False) -> dict[str, Any]:
        """Returns the statistics at `now`; `final` marks the last report of a run."""
        counters = dict(self.counters())
        return {
            "time": round(self.wall(), 3),
            **with_network_drops(self.metrics.snapshot(now), counters),
            "models": dict(self.models(state)),
            "network": counters,
            **({"cache": cache} if (cache := dict(self.cache())) else {}),
            **({"source_faults": faults} if (faults := dict(self.faults())) else {}),
            "queues": {model: waiting for model, waiting in waiting_tasks(state).items() if waiting},
            "memory_bytes": resident_bytes() or None,  # RSS, where the system says
            "final": final,
        }


def with_network_drops(table: dict[str, Any], counters: Mapping[str, int]) -> dict[str, Any]:
    """Returns the table with frames that the network thread refused counted as arrived and dropped."""
    refused = {reason: counters[reason] for reason in NETWORK_DROPS if counters.get(reason)}
    frames = dict(table["frames"])
    frames["in"] += sum(refused.values())
    frames["dropped"] = {**frames["dropped"], **refused}
    return {**table, "frames": frames, "slo": slo(table["slo"]["met"], frames["in"])}


def waiting_tasks(state: State) -> dict[str, int]:
    """Returns the number of waiting tasks by model, with a deadline or without."""
    waiting: Counter[str] = Counter()
    for queues in (state.queues, state.background):
        for queue in queues.values():
            waiting.update(entry[2].model for entry in queue)
    return dict(waiting)
