"""Implements SuperServe's SlackFit: spends the slack of the most urgent request on a large or accurate batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import NEVER, Action, Task, Time
from edge.core.queues import Entry
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.feasibility import idle, sizes, wake
from edge.policies.blocks.variant_options import Offer, due_ns, mates, offers, run, shed, shed_ns

Point = tuple[int, int, float, Offer]  # bucket, batch, accuracy, way


@dataclass
class SlackFit:
    """Serves the head with the first deadline, with the batch and variant that use its slack best.

    Of the buckets of durations that fit whole into the slack, the highest one is taken that has a batch for no more
    tasks than wait; in it the largest batch, then the most accurate variant. So much slack with few tasks buys
    accuracy, much slack with many tasks a large batch, and little slack the quickest variant. Raises `ValueError` for
    options out of range.

    `buckets`: number of equal parts of the range of durations, from the quickest variant alone to the slowest in its
        largest batch; at least 1.
    `batch_max`: largest number of tasks in one batch, at least 1.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    buckets: int = 16
    batch_max: int = 32
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="SuperServe: Khare et al., NSDI 2025 (arXiv 2312.16733)",
        sources={
            "buckets": "ours: the paper does not say how many; 16 splits the batches of edge4 well",
            "batch_max": "ours: what the stages accept decides",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
        deviations=(
            "variants of a model that are loaded side by side replace the subnets of one supernet",
            "several models share a lane: the first deadline of all counts, with the buckets of its model",
            "if no bucket fits whole, a batch of the lowest one that is in time is taken instead of a certain miss",
            "tasks that no variant can save are dropped, so that they do not make others late",
        ),
        needs=frozenset({"variants"}),
    )

    def __post_init__(self) -> None:
        if self.buckets < 1 or self.batch_max < 1:
            raise ValueError("buckets and batch_max must be at least 1")
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (NEVER if task.deadline_ns is None else task.deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops a lost task, else serves the first deadline that an idle lane can serve, else sleeps."""
        lanes = idle(state)
        if not lanes or not state.queues:
            return None
        if reply := shed(state, now):
            return reply
        for queue in sorted(state.queues.values(), key=first):
            for lane in lanes:
                if ways := offers(state, queue[0][2], lane):
                    size, way = self._fit(state, queue, ways, due_ns(queue[0][2]) - now)
                    return run(state, way, mates(queue, way, size), self.boundary_ns)
        return wake(state, shed_ns(state))

    def _fit(self, state: State, queue: list[Entry], ways: list[Offer], slack_ns: Time) -> tuple[int, Offer]:
        """Returns the batch size and the variant to run it with."""
        shortest = min(way.duration_ns(state, 1) for way in ways)
        longest = max(way.duration_ns(state, sizes(state, way.stage, self.batch_max)[-1]) for way in ways)
        width = max(1, longest - shortest) / self.buckets
        whole = int((slack_ns - shortest) / width)  # number of buckets that fit whole
        points = [*self._points(state, queue, ways, shortest, width, slack_ns)]
        if not points:  # only for a task that is late by estimate but tried, see `shed`
            return 1, min(ways, key=lambda way: way.duration_ns(state, 1))
        chosen = max(points, key=lambda point: (point[0] if point[0] < whole else -1, *point[1:3]))
        return chosen[1], chosen[3]

    def _points(
        self, state: State, queue: list[Entry], ways: list[Offer], shortest: Time, width: float, slack_ns: Time
    ) -> Iterator[Point]:
        """Yields the batches that fit into the slack, each with its bucket."""
        for way in ways:
            waiting = len(mates(queue, way, self.batch_max))
            for batch in sizes(state, way.stage, waiting):
                took = way.duration_ns(state, batch)
                if took > slack_ns:
                    break
                yield min(self.buckets - 1, int((took - shortest) / width)), batch, way.accuracy, way


def first(queue: list[Entry]) -> Entry:
    """Returns the head of a queue."""
    return queue[0]
