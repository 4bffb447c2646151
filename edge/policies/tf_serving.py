"""Implements TensorFlow Serving's shared batch scheduler: full batches or a timeout, and queues in turn."""

from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import NEVER, Action, Task, Time
from edge.core.queues import Entry
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import give_up, idle, loaded, run, sizes, wake
from edge.policies.blocks.round_robin_order import Ring


@dataclass
class TensorFlowServing:
    """Runs a queue in its turn if its first batch is full or old enough.

    The options are TensorFlow Serving's batching parameters. Batches are not stored: the batches of a queue are its
    tasks cut from the front into pieces of `max_batch_size`, so only the last piece can be open.

    `max_batch_size`: tasks in a full batch.
    `batch_timeout_micros`: age of its first task, in microseconds, at which an open batch starts.
    `max_enqueued_batches`: number of full batches in a queue beyond which a new request is refused.
    `allowed_batch_sizes`: sizes that may run; empty: all that the stage accepts.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    allowed_batch_sizes: tuple[int, ...] = ()
    ring: Ring = field(default_factory=Ring, init=False, repr=False, compare=False)

    about: ClassVar[About] = About(
        paper="Olston et al., TensorFlow-Serving, arXiv 1712.06139, 2017; SharedBatchScheduler of TensorFlow",
        sources={
            "max_batch_size": "TensorFlow, batching_util/shared_batch_scheduler.h",
            "batch_timeout_micros": "TensorFlow, batching_util/shared_batch_scheduler.h",
            "max_enqueued_batches": "TensorFlow, batching_util/shared_batch_scheduler.h",
            "allowed_batch_sizes": "TensorFlow Serving, session_bundle_config.proto: none",
        },
        deviations=(
            "no batch is padded: it is cut to a size that is accepted, and the rest becomes the next batch",
            "if a task leaves the queue before it runs, the ones behind it move up into its batch",
            "for a later stage the age counts from the frame's arrival: it has waited already",
            "lanes take the place of batch threads",
        ),
    )

    def __post_init__(self) -> None:
        self.timeout_ns = self.batch_timeout_micros * 1000
        self.allowed_batch_sizes = tuple(self.allowed_batch_sizes)  # YAML has lists only

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.arrived_ns,)

    def decide(self, state: State, now: Time) -> Action | None:
        """Refuses what exceeds the queue's limit, else runs a due queue in its turn, else sleeps."""
        self.ring.follow(state)
        for digest, queue in state.queues.items():
            if len(queue) > self.max_enqueued_batches * self._size(state, digest, self.max_batch_size):
                return give_up(state, queue[-1][2], "refused", f"{self.max_enqueued_batches} batches wait already")
        wake_ns = NEVER
        for lane in idle(state):
            queues = dict(loaded(state, lane))
            for digest in self.ring.turns(queues):
                if self._due(state, digest, queues[digest], now):
                    return run(state, lane, self._batch(state, digest, queues[digest]))
            wake_ns = min([wake_ns, *(queue[0][2].arrived_ns + self.timeout_ns for queue in queues.values())])
        return wake(state, wake_ns)

    def _due(self, state: State, digest: str, queue: list[Entry], now: Time) -> bool:
        full = len(queue) >= self._size(state, digest, self.max_batch_size)
        return full or now - queue[0][2].arrived_ns >= self.timeout_ns

    def _batch(self, state: State, digest: str, queue: list[Entry]) -> tuple[Task, ...]:
        return together(queue, self._size(state, digest, min(len(queue), self.max_batch_size)))

    def _size(self, state: State, digest: str, most: int) -> int:
        """Returns the largest batch up to `most` that is accepted and allowed; at least 1."""
        accepted = sizes(state, digest, most)
        allowed = self.allowed_batch_sizes
        return max((size for size in accepted if size in allowed), default=1) if allowed else accepted[-1]
