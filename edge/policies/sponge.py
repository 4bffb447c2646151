"""Implements Sponge: uses as few cores, then as small a batch, as finish all waiting work by its deadlines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Action, Event, Task, Time
from edge.core.interfaces import Moment
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.meters.traffic import Traffic
from edge.plugins import About
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
    """Runs the first deadline on the available lane with the fewest cores that finishes all waiting work in time.

    Its batches must also keep up with the arrival rate; the smallest such batch is taken. If no lane qualifies: the
    most cores, and the largest batch that the first deadline allows. Raises `ValueError` for options out of range.

    `threads`: lane -> cores that work on one run there, at least 1 and at most `cores`; 1 for a lane that is not named.
    `cores`: cores of the box; lanes that run at the same time use no more together. 0: every lane has its own cores.
    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
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
            "decided for each batch by trying, not once a second by an integer program",
            "several models share the cores, by deadline",
            "the batch sizes that are tried double, and lost tasks are dropped",
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
        """Drops hopeless heads, else tries lanes and batches from the smallest, else asks to be woken."""
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
        """Measures the arrival rates; posts no events."""
        self.traffic.see(moment)
        return ()

    def _free(self, state: State) -> list[Lane]:
        """Returns the idle lanes for which enough cores are free, the one with the fewest cores first."""
        busy = sum(self._threads(lane) for lane in state.lanes.values() if lane.running is not None)
        lanes = [lane for lane in idle(state) if not self.cores or self._threads(lane) <= self.cores - busy]
        return sorted(lanes, key=lambda lane: (self._threads(lane), lane.name))

    def _threads(self, lane: Lane) -> int:
        return self.threads.get(lane.name, 1)

    def _batches(self, state: State, queues: Sequence[Queue]) -> list[int]:
        """Returns 1, 2, 4, … and the largest batch that any of the stages accepts."""
        most = max(sizes(state, digest, self.batch_max)[-1] for digest, _ in queues)
        return [1 << power for power in range(most.bit_length()) if 1 << power <= most] + [most]

    def _keeps_up(self, state: State, lane: Lane, queues: Sequence[Queue], most: int, now: Time) -> bool:
        """Returns whether the lane can serve the arrival rate of the waiting models with batches of up to `most`."""
        asked = 0.0
        for digest, queue in queues:
            batch = largest(state, digest, most)
            rate = self.traffic.meter.rate(queue[0][2].model, now)
            asked += rate * state.duration_ns(digest, batch, lane) / batch
        return asked <= 1e9  # nanoseconds of work per second


def first(queues: Iterable[Queue]) -> Queue:
    """Returns the queue whose head is due first."""
    return min(queues, key=lambda queue: queue[1][0])


def in_time(state: State, lane: Lane, queues: Sequence[Queue], most: int, now: Time) -> bool:
    """Returns whether all waiting tasks are in time on this lane, by deadline, in batches of up to `most`."""
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
