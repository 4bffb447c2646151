"""SuperServe's SlackFit: as much time as the most urgent request can spare, spent on the largest batch there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import NEVER, Action, Task, Time
from edge.core.interfaces import About
from edge.core.state import Entry, State
from edge.policies.blocks.feasibility import idle, sizes, wake
from edge.policies.blocks.variant_options import Offer, due_ns, mates, offers, run, shed, shed_ns

Point = tuple[int, int, float, Offer]  # bucket, batch, accuracy, way


@dataclass
class SlackFit:
    """`buckets`: parts of equal width of the range of durations, from the quickest variant alone to the slowest in its
    largest batch. `batch_max`: tasks in one batch. `boundary_ms`: a following stage shorter than this is run along.

    The head with the first deadline is served. Of the buckets that fit whole into its slack the highest one is taken
    that has a batch for no more tasks than wait; in it the largest batch, then the most accurate variant. So much slack
    for few tasks buys accuracy, much slack for many a large batch, and little slack the quickest variant.
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
            "variants of a model that are loaded side by side take the place of the subnets of one supernet",
            "several models share a lane: the first deadline of all decides, and buckets are those of its model",
            "where no bucket fits whole, what fits of the lowest one is taken instead of a certain miss",
            "what no variant can save is dropped, so that it does not make others late",
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
        """The batch and the way to go it."""
        shortest = min(way.duration_ns(state, 1) for way in ways)
        longest = max(way.duration_ns(state, sizes(state, way.stage, self.batch_max)[-1]) for way in ways)
        width = max(1, longest - shortest) / self.buckets
        whole = int((slack_ns - shortest) / width)  # this many buckets fit whole
        points = [*self._points(state, queue, ways, shortest, width, slack_ns)]
        if not points:  # only for a task that is let try
            return 1, min(ways, key=lambda way: way.duration_ns(state, 1))
        chosen = max(points, key=lambda point: (point[0] if point[0] < whole else -1, *point[1:3]))
        return chosen[1], chosen[3]

    def _points(
        self, state: State, queue: list[Entry], ways: list[Offer], shortest: Time, width: float, slack_ns: Time
    ) -> Iterator[Point]:
        """What fits into the slack, with the bucket that it falls into."""
        for way in ways:
            waiting = len(mates(queue, way, self.batch_max))
            for batch in sizes(state, way.stage, waiting):
                took = way.duration_ns(state, batch)
                if took > slack_ns:
                    break
                yield min(self.buckets - 1, int((took - shortest) / width)), batch, way.accuracy, way


def first(queue: list[Entry]) -> Entry:
    return queue[0]
