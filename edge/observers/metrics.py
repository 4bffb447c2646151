"""Counts frames and times in the running daemon. Every frame that came in ends in exactly one counter."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.events import Event, Failed, Finished, LaneDown, Loaded, LoadFailed, Reply, Run, Stopped, Time
from edge.core.interfaces import Moment
from edge.data.job import InFlightRequest
from edge.runtime.admission import OTHERS

LATENCIES_KEPT = 2_000  # per stream; the p99 of fewer than some 500 is a rough estimate
STREAMS_MAX = 256  # names come from topics: beyond this many they are counted together as OTHERS


class Latencies:
    """Keeps the last latencies, in ns and unordered, in an array: all are examined every second while frames wait."""

    __slots__ = ("_added", "_ring")

    def __init__(self) -> None:
        self._ring, self._added = np.empty(LATENCIES_KEPT, np.int64), 0

    def add(self, latency_ns: int) -> None:
        self._ring[self._added % LATENCIES_KEPT] = latency_ns
        self._added += 1

    def kept(self) -> NDArray[np.int64]:
        return self._ring[: self._added]


@dataclass(slots=True)
class StreamCount:
    """Counts one camera's frames: `arrived == answered + sum(dropped) + waiting` at any moment."""

    arrived: int = 0
    answered: int = 0
    met: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)
    recent: int = 0  # arrived since the last look

    def waiting(self) -> int:
        return self.arrived - self.answered - self.dropped.total()


class Metrics:
    """Listens to the live world for frames, and observes the loop for time."""

    def __init__(
        self,
        labelling: frozenset[str] = frozenset(),
        known: frozenset[str] = frozenset(),
        prices: Mapping[str, float] = {},
    ):
        self.labelling = labelling  # models whose background work is labelling
        self.known = known  # cameras that always have a line of their own
        self.prices = prices  # of a task, on lanes that cost something
        self.streams: dict[str, StreamCount] = {}
        self.spent_ns: Counter[str] = Counter()  # inference, training, labelling
        self.spent_before: Counter[str] = Counter()
        self.works: dict[int, tuple[Run, Time]] = {}  # and when it began
        self.paid: Counter[str] = Counter()  # lane -> tasks sent there, as policies/wrappers/cloud_burst counts them
        self.events: Counter[str] = Counter()
        self.details: dict[str, str] = {}  # the last words of each kind of trouble
        self.began_ns: Time | None = None
        self.looked_ns: Time = 0
        self.lanes = 1

    # ---- frames --------------------------------------------------------------------------------------------------

    def stream(self, camera: str) -> StreamCount:
        """Returns the counts of a camera; unknown ones beyond `STREAMS_MAX` share the entry `OTHERS`."""
        count = self.streams.get(camera)
        if count is None:
            if camera not in self.known and len(self.streams) >= STREAMS_MAX:
                camera = OTHERS
            count = self.streams.setdefault(camera, StreamCount())
        return count

    def arrived(self, camera: str) -> None:
        count = self.stream(camera)
        count.arrived += 1
        count.recent += 1

    def dropped(self, camera: str, app: str, reason: str) -> None:
        """Counts a frame that arrived but never became a request."""
        self.arrived(camera)
        self.stream(camera).dropped[reason] += 1

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        """Counts the outcome of a request with a deadline, and its latency when it was answered."""
        if opened.request.deadline_ns is None:
            return
        count = self.stream(opened.request.stream)
        if reply.outcome != "ok":
            count.dropped[reply.outcome] += 1
            if reply.detail:
                self.details[reply.outcome] = reply.detail
            return
        count.answered += 1
        count.met += now <= opened.request.deadline_ns
        count.latencies.add(now - opened.request.arrived_ns)

    # ---- time ----------------------------------------------------------------------------------------------------

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        """Adds up the time of each work by kind, and counts loads, faults and paid tasks."""
        if self.began_ns is None:
            self.began_ns = self.looked_ns = moment.now
        self.lanes = max(1, len(moment.state.lanes))
        for action in moment.actions:
            if isinstance(action, Run):
                self.works[action.work_id] = (action, moment.now)
                if action.lane in self.prices:
                    self.paid[action.lane] += len(action.tasks)
        match moment.event:
            case Finished(work_id, _, took_ns):
                self._spent(work_id, moment.now, took_ns)
            case Failed(work_id, reason):
                self._spent(work_id, moment.now, None)
                self.events["failed_works"] += 1
                self.details["failed_works"] = reason
            case Stopped(work_id):
                self._spent(work_id, moment.now, None)
            case LoadFailed(_, stage, reason):
                self.events["failed_loads"] += 1
                self.details["failed_loads"] = f"{stage[:12]}: {reason}"
            case Loaded():
                self.events["loads"] += 1
            case LaneDown(lane, reason):
                self._lost(lane, reason, moment.now)
        return ()

    def _lost(self, lane: str, reason: str, now: Time) -> None:
        self.events["lanes_lost"] += 1
        self.details["lanes_lost"] = f"{lane}: {reason}"
        for work_id in [work_id for work_id, (run, _) in self.works.items() if run.lane == lane]:
            self._spent(work_id, now, None)

    def _kind(self, run: Run) -> str:
        if not run.background:
            return "inference"
        return "labelling" if run.tasks[0].model in self.labelling else "training"

    def _spent(self, work_id: int, now: Time, took_ns: int | None) -> None:
        if (known := self.works.pop(work_id, None)) is not None:
            run, began = known
            self.spent_ns[self._kind(run)] += now - began if took_ns is None else took_ns

    # ---- what is published -----------------------------------------------------------------------------------------

    def snapshot(self, now: Time) -> dict[str, Any]:
        """Returns totals since the start; rates and time shares also over the span since the last snapshot."""
        began = self.began_ns if self.began_ns is not None else now
        span_s = max(1e-9, (now - self.looked_ns) / 1e9)
        recent = self.spent_ns - self.spent_before
        dropped: Counter[str] = sum((count.dropped for count in self.streams.values()), Counter())
        arrived = sum(count.arrived for count in self.streams.values())
        answered = sum(count.answered for count in self.streams.values())
        latencies = [count.latencies.kept() for count in self.streams.values()]
        table = {
            "uptime_s": round((now - began) / 1e9, 3),
            "frames": {
                "in": arrived,
                "answered": answered,
                "dropped": dict(dropped),
                "waiting": arrived - answered - dropped.total(),
            },
            "slo": slo(sum(count.met for count in self.streams.values()), arrived),
            "latency_ms": quantiles_ms(np.concatenate(latencies) if latencies else np.empty(0)),
            "streams": {name: self._stream_table(count, span_s) for name, count in sorted(self.streams.items())},
            "time_share": shares(self.spent_ns, (now - began) * self.lanes),
            "time_share_recent": shares(recent, (now - self.looked_ns) * self.lanes),
            "events": dict(self.events),
            **({"paid": self._bill()} if self.prices else {}),
            "last_words": dict(self.details),
        }
        self.looked_ns, self.spent_before = now, self.spent_ns.copy()
        return table

    def _bill(self) -> dict[str, Any]:
        """Returns by lane the number of tasks and what they cost."""
        return {
            lane: {"tasks": self.paid[lane], "money": self.paid[lane] * price} for lane, price in self.prices.items()
        }

    def _stream_table(self, count: StreamCount, span_s: float) -> dict[str, Any]:
        fps, count.recent = count.recent / span_s, 0
        return {
            "in": count.arrived,
            "answered": count.answered,
            "dropped": dict(count.dropped),
            "fps": round(fps, 2),
            "p99_ms": quantiles_ms(count.latencies.kept())["p99"],
            "attainment": round(count.met / count.arrived, 5) if count.arrived else None,
        }


def slo(met: int, arrived: int) -> dict[str, Any]:
    """Returns requests met and their share of all that arrived (a drop is a miss); the share is
    None when none arrived.
    """
    return {"met": met, "attainment": round(met / arrived, 5) if arrived else None}


def quantiles_ms(latencies_ns: NDArray[Any]) -> dict[str, float | None]:
    """Returns p50 and p99 by nearest rank, in ms; partial sorting costs a tenth of what `np.percentile` does."""
    if not latencies_ns.size:
        return {"p50": None, "p99": None}
    at50, at99 = (ceil(share * latencies_ns.size) - 1 for share in (0.50, 0.99))
    sorted_there = np.partition(latencies_ns, (at50, at99))
    return {"p50": round(float(sorted_there[at50]) / 1e6, 3), "p99": round(float(sorted_there[at99]) / 1e6, 3)}


def shares(spent_ns: Counter[str], whole_ns: int) -> dict[str, float]:
    """Returns how the lanes' time was spent, as shares of `whole_ns`; the rest is idle."""
    whole = max(1, whole_ns)
    table = {kind: round(spent_ns[kind] / whole, 5) for kind in ("inference", "training", "labelling")}
    return {**table, "idle": round(max(0.0, 1 - sum(table.values())), 5)}
