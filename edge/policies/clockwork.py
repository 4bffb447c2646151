"""Implements Clockwork: of the feasible batches of all sizes and models, runs the one that has to start first."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

from edge.core.events import NEVER, Action, Task, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.batching import together, worth_a_try
from edge.policies.blocks.demand_loading import load
from edge.policies.blocks.feasibility import (
    finish_by_ns,
    give_up,
    idle,
    largest,
    largest_within,
    run,
    shed,
    shed_ns,
    tail_ns,
    wake,
)
from edge.policies.blocks.lane_assignment import served_by


class Strategy(NamedTuple):
    """Describes a batch of `size` requests from place `at` of a queue, the first one for which it is not too late."""

    latest_ns: Time  # latest start; strategies are compared by this first
    digest: str
    size: int
    at: int


@dataclass
class Clockwork:
    """Runs the strategy with the earliest latest start, and loads by unmet demand.

    `bump`: what happens if more tasks wait than the batch: "all" makes it as large as the queue or passes it over,
        "fit" makes it as large as its first request can wait for.
    `window_ms`: milliseconds after which a lane that has not started the work gives it back.
    `window_share`: the same as a part of the expected duration; the larger of the two counts.
    `loads`: whether this policy decides what is loaded for waiting tasks.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    bump: Literal["all", "fit"] = "all"
    window_ms: float = 2.0
    window_share: float = 0.1
    loads: bool = True
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="Gujarati et al., Serving DNNs like Clockwork, OSDI 2020, sections 4 and 5",
        sources={
            "bump": "the published controller",
            "window_ms": "ours: 10 ms in the published controller, which is longer than whole batches on small boxes",
            "window_share": "ours: as `window_ms`",
            "loads": "the paper",
            "boundary_ms": "ours: what a boundary between two stages may cost",
        },
        deviations=(
            "work is ordered when a lane is free, not 10 ms ahead: events and actions stay within one box",
            "the window is 2 ms or a tenth of the duration, not 10 ms",
            "an SLO below 15 ms is kept; the published controller raises it to 15 ms",
            "no 5 ms are taken off each SLO: the estimator has a margin instead",
            "each copy of a model takes an equal part of its demand; a further copy never displaces what serves",
        ),
    )

    def __post_init__(self) -> None:
        self.window_ns = round(self.window_ms * 1e6)
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (NEVER if task.deadline_ns is None else task.deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops hopeless heads, else runs the most urgent strategy of an idle lane, else loads, else sleeps."""
        if reply := shed(state, now, "hopeless"):
            return reply
        for lane in idle(state):
            found = [s for _, queue in served_by(state, lane) for s in self._strategies(state, now, lane, queue)]
            if found:
                return self._infer(state, now, lane, min(found))
        # Loads come after runs: a stage that was loaded for a task is used before another one displaces it.
        if self.loads and (action := load(state)):
            return action
        return wake(state, shed_ns(state, "hopeless"))

    def _strategies(self, state: State, now: Time, lane: Lane, queue: Sequence[Entry]) -> Iterator[Strategy]:
        """Yields, for each size, the batch from the first request that is not too late for it.

        Smaller batches from the same request, and batches of the same size from later requests, may start later, so
        they are not examined.
        """
        head = queue[0][2]
        digest, after_ns = head.chain[head.at], tail_ns(state, head, lane)
        if worth_a_try(state, head, lane, now):
            yield Strategy(now, digest, 1, 0)
        size, at, end = 1, 0, 1 if head.attempts else len(queue)
        while at < end:
            ends_ns = now + state.duration_ns(digest, size, lane) + after_ns
            at = bisect_left(queue, ends_ns, at, end, key=deadline_ns)
            at = min(at, end - size + 1)  # fewer than `size` tasks from `at` on: take the last `size - 1`, see `most`
            if at == end:
                return
            most, by_ns = largest(state, digest, end - at), finish_by_ns(state, queue[at][2], lane)
            size = min(most, max(size, largest_within(state, digest, lane, most, by_ns - now)))
            if size == most or self.bump == "fit":
                yield Strategy(by_ns - state.duration_ns(digest, size, lane), digest, size, at)
            if size == most:
                return
            size = following(state, digest, size)

    def _infer(self, state: State, now: Time, lane: Lane, chosen: Strategy) -> Action:
        """Drops requests older than the strategy that are too late for it, one per call, then runs it."""
        queue = state.queues[chosen.digest]
        head = queue[0][2]
        ends_ns = now + state.duration_ns(chosen.digest, chosen.size, lane)
        if chosen.at and finish_by_ns(state, head, lane) < ends_ns:
            return give_up(state, head)
        work = run(state, lane, together(queue, chosen.size), self.boundary_ns)
        took_ns = sum([state.duration_ns(digest, len(work.tasks), lane) for digest in work.stages])
        return replace(work, latest_ns=now + max(self.window_ns, round(self.window_share * took_ns)))


def following(state: State, digest: str, size: int) -> int:
    """Returns the next larger size that the stage accepts, which must exist."""
    batches = state.stages[digest].batches
    return batches[bisect_right(batches, size)]


def deadline_ns(entry: Entry) -> Time:
    """Returns the deadline of a queue's entry, the first item that it is sorted by."""
    found: Time = entry[0][0]
    return found
