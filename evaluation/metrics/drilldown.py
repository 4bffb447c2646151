"""Shows one run in detail: latencies, batch sizes, and which works occupied the lanes in one second."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from edge.core.events import Request, Time
from edge.core.simulation import SimulatedWorld
from evaluation.metrics.lane_timeline import LaneWork
from evaluation.scenario import MS

SECOND_NS = 1_000_000_000
STEPS = 200  # points of a latency curve


@dataclass(frozen=True, slots=True)
class Span:
    """Describes a work on a lane, in ms since the second began."""

    lane: str
    begin_ms: float
    end_ms: float
    model: str
    batch: int
    on_time: int  # of its tasks, those that ended by their deadline; 0 for a work that was stopped or failed


@dataclass(frozen=True, slots=True)
class Drilldown:
    """Holds the details of one run.

    `latency_ms`: quantiles of all offered requests in `STEPS` equal steps, as far as they are finite: a request without
    an answer counts as infinitely late.
    """

    latency_ms: tuple[float, ...]
    batches: dict[int, int]  # size -> works
    spans: tuple[Span, ...]


def drilldown(world: SimulatedWorld, works: Sequence[LaneWork], from_ns: Time) -> Drilldown:
    """Returns the details of a run. `from_ns`: when the second to show begins."""
    shown = [work for work in works if work.began_ns < from_ns + SECOND_NS and work.ended_ns > from_ns]
    batches = Counter(len(work.run.tasks) for work in works)
    return Drilldown(latencies_ms(world), dict(sorted(batches.items())), tuple(span(work, from_ns) for work in shown))


def span(work: LaneWork, from_ns: Time) -> Span:
    """Returns a work as it is drawn, in ms from `from_ns`."""
    tasks = work.run.tasks if work.end == "finished" else ()
    on_time = sum(task.deadline_ns is None or work.ended_ns <= task.deadline_ns for task in tasks)
    begin_ms, end_ms = ((at_ns - from_ns) / MS for at_ns in (work.began_ns, work.ended_ns))
    return Span(work.run.lane, begin_ms, end_ms, work.run.tasks[0].model, len(work.run.tasks), on_time)


def latencies_ms(world: SimulatedWorld) -> tuple[float, ...]:
    """Returns quantiles over all requests with a deadline, as long as they are finite."""
    asked = {request.id: request.arrived_ns for request in world.requests if request.deadline_ns is not None}
    took_ns = sorted(
        now - asked[reply.request_id]
        for now, reply in world.replies
        if reply.outcome == "ok" and reply.request_id in asked
    )
    ranks = (ceil(step / STEPS * len(asked)) for step in range(1, STEPS + 1))
    return tuple(took_ns[rank - 1] / MS for rank in ranks if 0 < rank <= len(took_ns))


def busiest_second(requests: Sequence[Request]) -> Time:
    """Returns when the second with the most arrivals begins, in ns; requests must be in order of time."""
    window: deque[Time] = deque()
    most, began_ns = 0, 0
    for request in requests:
        window.append(request.arrived_ns)
        while window[0] <= request.arrived_ns - SECOND_NS:
            window.popleft()
        if len(window) > most:
            most, began_ns = len(window), window[0]
    return began_ns
