"""Records what happened on the lanes in one run: every batch with its times, loads, evictions, preemptions."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge.core.events import (
    Action,
    Event,
    Evict,
    Failed,
    Finished,
    LaneDown,
    Load,
    Loaded,
    LoadFailed,
    Run,
    Stop,
    Stopped,
    Time,
)
from edge.core.interfaces import Moment

SECOND_NS = 1_000_000_000
End = Literal["finished", "failed", "stopped", "lost"]


@dataclass(frozen=True, slots=True)
class LaneWork:
    """Describes one batch on a lane and how it ended. `took_ns`: as the lane measured it, where it did."""

    run: Run
    began_ns: Time
    ended_ns: Time
    took_ns: Time
    end: End

    def serves(self, request_ids: Container[int]) -> bool:
        """Returns whether any of these requests is among those it worked for."""
        return any(task.request in request_ids for task in self.run.tasks)


@dataclass
class LaneTimeline:
    """Observes one run; every run needs a new instance."""

    works: list[LaneWork] = field(default_factory=list)  # in the order in which they ended
    loads: int = 0
    load_bytes: int = 0
    load_ns: int = 0
    evictions: int = 0
    preemptions: int = 0
    _running: dict[int, tuple[Run, Time]] = field(default_factory=dict)  # by work id, with its begin
    _loading: dict[str, Time] = field(default_factory=dict)  # by lane: since when

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        """Records the end of works and loads, and what the actions start."""
        match moment.event:
            case Finished(work_id, _, took_ns):
                self._end(work_id, moment.now, "finished", took_ns)
            case Stopped(work_id):
                self._end(work_id, moment.now, "stopped")
            case Failed(work_id):
                self._end(work_id, moment.now, "failed")
            case Loaded(lane) | LoadFailed(lane):
                self.load_ns += moment.now - self._loading.pop(lane, moment.now)
            case LaneDown(lane):
                self._lose(lane, moment.now)
        for action in moment.actions:
            self._note(action, moment)
        return ()

    def _note(self, action: Action, moment: Moment) -> None:
        match action:
            case Run():
                self._running[action.work_id] = (action, moment.now)
            case Load(lane, digest):
                self.loads += 1
                self.load_bytes += moment.state.stages[digest].memory_bytes
                self._loading[lane] = moment.now
            case Evict():
                self.evictions += 1
            case Stop() if not moment.state.closing:
                self.preemptions += 1

    def _end(self, work_id: int, now: Time, end: End, took_ns: Time | None = None) -> None:
        if (begun := self._running.pop(work_id, None)) is not None:  # None: late news of a work that is over
            run, began_ns = begun
            self.works.append(LaneWork(run, began_ns, now, now - began_ns if took_ns is None else took_ns, end))

    def _lose(self, lane: str, now: Time) -> None:
        self._loading.pop(lane, None)
        for work_id in [work_id for work_id, (run, _) in self._running.items() if run.lane == lane]:
            self._end(work_id, now, "lost")


@dataclass(frozen=True)
class Usage:
    """Describes what the lanes were used for. Shares are 0..1."""

    utilisation: float  # busy share of all lanes' time
    wasted: float  # share of the busy time that helped no good answer: it was cut off, or all of it came too late
    batch_mean: float | None  # None: nothing ran
    batches: Mapping[str, int]  # size -> works
    device_s: Mapping[str, float]  # busy, by lane
    background_s: float  # of these, for requests without a deadline
    cost: float  # money, for lanes with a price
    preemptions: int
    loads: int
    load_bytes: int
    load_s: float
    evictions: int


def usage(
    recorder: LaneTimeline,
    lanes: Sequence[str],
    span_ns: tuple[Time, Time],
    good: Container[int],
    prices: Mapping[str, float],
) -> Usage:
    """Returns what the lanes were used for. Batches and waste are those of work with deadlines.

    Args:
        recorder: the timeline of the run.
        lanes: names of all lanes.
        span_ns: begin and end of the time over which utilisation is computed.
        good: ids of requests that were answered in time.
        prices: by lane, for a second of work.
    """
    works = [work for work in recorder.works if not work.run.background]
    batches = Counter(len(work.run.tasks) for work in works)
    busy_ns = sum(work.took_ns for work in works)
    useful_ns = sum(work.took_ns for work in works if work.end == "finished" and work.serves(good))
    spent_ns = Counter(dict.fromkeys(lanes, 0))
    for work in recorder.works:
        spent_ns[work.run.lane] += work.took_ns
    device_s = {lane: ns / SECOND_NS for lane, ns in spent_ns.items()}
    return Usage(
        utilisation=sum(overlap_ns(work, span_ns) for work in recorder.works)
        / (len(lanes) * (span_ns[1] - span_ns[0])),
        wasted=1 - useful_ns / busy_ns if busy_ns else 0.0,
        batch_mean=batches_mean(batches),
        batches={str(size): batches[size] for size in sorted(batches)},
        device_s=device_s,
        background_s=(sum(spent_ns.values()) - busy_ns) / SECOND_NS,
        cost=sum(device_s.get(lane, 0.0) * price for lane, price in prices.items()),
        preemptions=recorder.preemptions,
        loads=recorder.loads,
        load_bytes=recorder.load_bytes,
        load_s=recorder.load_ns / SECOND_NS,
        evictions=recorder.evictions,
    )


def overlap_ns(work: LaneWork, span_ns: tuple[Time, Time]) -> Time:
    """Returns how long a work ran within a span, in ns."""
    return max(0, min(work.ended_ns, span_ns[1]) - max(work.began_ns, span_ns[0]))


def batches_mean(batches: Mapping[int, int]) -> float | None:
    """Returns the mean batch size; None when nothing ran."""
    works = sum(batches.values())
    return sum(size * count for size, count in batches.items()) / works if works else None
