"""Sponge: as few cores as get all that waits done in time, each by its own deadline; then as small a batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Action, Event, Task, Time
from edge.core.interfaces import About, Moment
from edge.core.state import Entry, Lane, State
from edge.meters.traffic import Traffic
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import (
    finish_by_ns,
    idle,
    largest,
    largest_feasible,
    loaded,
    run,
    shed,
    shed_ns,
    sizes,
    wake,
)
from edge.policies.blocks.variant_options import due_ns

Queue = tuple[str, Sequence[Entry]]


@dataclass
class Sponge:
    """`threads`: lane -> cores that work on one run there; a lane that is not named has one. `cores`: of the box; lanes
    that run at the same time have no more together. 0: every lane has cores of its own. `batch_max`: tasks in one
    batch. `boundary_ms`: a following stage shorter than this is run along.

    Of the lanes that may run now the one with the fewest cores is taken on which everything that waits would be done in
    time, one after the other by deadline, and whose batches keep up with the rate; and there the smallest such batch.
    Where none is: the most cores, and the largest batch that the first deadline allows.
    """

    threads: Mapping[str, int] = field(default_factory=dict)
    cores: int = 0
    batch_max: int = 32
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="Sponge: Razavi et al., EuroMLSys 2024 (arXiv 2404.00704)",
        sources={
            "threads": "ours: as the devices of the box are set up",
            "cores": "ours: as many as the box has",
            "batch_max": "ours: what the stages accept decides",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
        deviations=(
            "a session keeps its number of threads for life, so each number of cores is a lane with its own sessions, "
            "which takes memory; the paper resizes one container",
            "decided anew for each batch, by trying, and not once a second by an integer program",
            "several models: all of them wait for the same cores, by deadline",
            "batches that are tried double, and what has no chance is dropped",
        ),
    )

    def __post_init__(self) -> None:
        if self.cores < 0 or any(not 1 <= each <= (self.cores or each) for each in self.threads.values()):
            raise ValueError(f"{self}: a lane has at least one thread, and no more than the box has cores")
        self.boundary_ns = round(self.boundary_ms * 1e6)
        self.traffic = Traffic()

    def order(self, task: Task) -> tuple[int, ...]:
        return (due_ns(task), -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        lanes = self._free(state)
        if not lanes or not state.queues:
            return None
        if reply := shed(state, now, "hopeless"):
            return reply
        choices = [(lane, queues) for lane in lanes if (queues := loaded(state, lane))]
        for lane, queues in choices:
            for most in self._batches(state, queues):
                if self._keeps_up(state, lane, queues, most, now) and in_time(state, lane, queues, most, now):
                    _, queue = first(queues)
                    size = largest(state, queue[0][2].chain[queue[0][2].at], min(most, len(queue)))
                    return run(state, lane, together(queue, size), self.boundary_ns)
        if choices:
            lane, queues = choices[-1]
            _, queue = first(queues)
            size = largest_feasible(state, queue, lane, now, self.batch_max) or 1
            return run(state, lane, together(queue, size), self.boundary_ns)
        return wake(state, shed_ns(state, "hopeless"))

    def observe(self, moment: Moment) -> Iterable[Event]:
        self.traffic.see(moment)
        return ()

    def _free(self, state: State) -> list[Lane]:
        """Idle lanes for which there are cores enough, the one with the fewest first."""
        busy = sum(self._threads(lane) for lane in state.lanes.values() if lane.running is not None)
        lanes = [lane for lane in idle(state) if not self.cores or self._threads(lane) <= self.cores - busy]
        return sorted(lanes, key=lambda lane: (self._threads(lane), lane.name))

    def _threads(self, lane: Lane) -> int:
        return self.threads.get(lane.name, 1)

    def _batches(self, state: State, queues: Sequence[Queue]) -> list[int]:
        """1, 2, 4, … up to the largest that any of the stages accepts."""
        most = max(sizes(state, digest, self.batch_max)[-1] for digest, _ in queues)
        return [1 << power for power in range(most.bit_length()) if 1 << power <= most] + [most]

    def _keeps_up(self, state: State, lane: Lane, queues: Sequence[Queue], most: int, now: Time) -> bool:
        """Can the lane, with batches of so many, do as much as comes for those who wait?"""
        asked = 0.0
        for digest, queue in queues:
            batch = largest(state, digest, most)
            rate = self.traffic.meter.rate(queue[0][2].model, now)
            asked += rate * state.duration_ns(digest, batch, lane) / batch
        return asked <= 1e9


def first(queues: Iterable[Queue]) -> Queue:
    """The one whose head is due first."""
    return min(queues, key=lambda queue: queue[1][0])


def in_time(state: State, lane: Lane, queues: Sequence[Queue], most: int, now: Time) -> bool:
    """Would all of them be, one batch of up to `most` after the other, the first deadline first?"""
    left = {digest: 0 for digest, _ in queues}
    waiting = dict(queues)
    while waiting:
        digest = min(waiting, key=lambda digest: waiting[digest][left[digest]])
        queue, at = waiting[digest], left[digest]
        size = largest(state, digest, min(most, len(queue) - at))
        now += state.duration_ns(digest, size, lane)
        if now > finish_by_ns(state, queue[at][2], lane):
            return False
        left[digest] += size
        if left[digest] == len(queue):
            del waiting[digest]
    return True
