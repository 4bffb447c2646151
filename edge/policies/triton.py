"""Implements Triton's dynamic batcher: preferred sizes start at once, any other batch waits up to a delay."""

from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import NEVER, Action, Reply, Task, Time
from edge.core.queues import Entry
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import give_up, idle, largest, loaded, run, sizes, wake
from edge.policies.blocks.round_robin_order import Ring


@dataclass
class Triton:
    """Runs queues in turn by the rules of Triton's `dynamic_batching` and its default queue policy.

    `max_batch_size`: largest batch of every model, as far as its stages accept it.
    `preferred_batch_size`: sizes that start at once; empty: the largest.
    `max_queue_delay_microseconds`: time that the head of any other batch waits for more tasks.
    `max_queue_size`: number of waiting tasks beyond which a new request is refused; 0: no limit.
    `default_timeout_microseconds`: waiting time after which a task is dropped; 0: never.
    """

    max_batch_size: int = 1000
    preferred_batch_size: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0
    max_queue_size: int = 0
    default_timeout_microseconds: int = 0
    ring: Ring = field(default_factory=Ring, init=False, repr=False, compare=False)

    about: ClassVar[About] = About(
        paper="NVIDIA Triton Inference Server: its guide on batchers, and dynamic_batch_scheduler.cc",
        sources={
            "max_batch_size": "ours: more than any stage accepts; Triton has one for each model",
            "preferred_batch_size": "Triton, model_config.proto",
            "max_queue_delay_microseconds": "Triton, model_config.proto",
            "max_queue_size": "Triton, model_config.proto",
            "default_timeout_microseconds": "Triton, model_config.proto",
        },
        deviations=(
            "models take turns on a lane; Triton runs the instances of all models side by side",
            "there are no priority levels, and REJECT is the only timeout action",
            "preferred sizes that the stage does not accept are ignored",
            "for a later stage the delay counts from the frame's arrival: it has waited already",
        ),
    )

    def __post_init__(self) -> None:
        self.delay_ns = self.max_queue_delay_microseconds * 1000
        self.timeout_ns = self.default_timeout_microseconds * 1000
        self.preferred_batch_size = tuple(self.preferred_batch_size)  # YAML has lists only

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.arrived_ns, -task.priority)

    def decide(self, state: State, now: Time) -> Action | None:
        """Refuses or drops by the queue's limits, else runs a ready queue in its turn, else asks to be woken."""
        self.ring.follow(state)
        if reply := self._refuse(state, now):
            return reply
        wake_ns = self._timeout_ns(state)
        for lane in idle(state):
            queues = dict(loaded(state, lane))
            for digest in self.ring.turns(queues):
                if size := self._size(state, queues[digest], now):
                    return run(state, lane, together(queues[digest], size))
            wake_ns = min([wake_ns, *(queue[0][2].arrived_ns + self.delay_ns for queue in queues.values())])
        return wake(state, wake_ns)

    def _refuse(self, state: State, now: Time) -> Reply | None:
        for queue in state.queues.values():
            if self.max_queue_size and len(queue) > self.max_queue_size:
                return give_up(state, queue[-1][2], "refused", f"{self.max_queue_size} requests wait already")
            if self.timeout_ns and now - queue[0][2].arrived_ns > self.timeout_ns:
                return give_up(state, queue[0][2])
        return None

    def _timeout_ns(self, state: State) -> Time:
        """Returns when the next head will have waited too long; NEVER without a timeout."""
        heads = state.queues.values() if self.timeout_ns else ()
        return min((queue[0][2].arrived_ns + self.timeout_ns + 1 for queue in heads), default=NEVER)

    def _size(self, state: State, queue: list[Entry], now: Time) -> int:
        """Returns how many tasks of the queue start now; 0 if they wait for more."""
        head = queue[0][2]
        digest, waited_ns = head.chain[head.at], now - head.arrived_ns
        most = min(len(queue), self.max_batch_size)
        preferred = set(self.preferred_batch_size).intersection(sizes(state, digest, self.max_batch_size))
        exceeded = 0 < self.delay_ns <= waited_ns
        if not exceeded and (fitting := [size for size in preferred if size <= most]):
            return max(fitting)
        full = most >= max(preferred, default=largest(state, digest, self.max_batch_size))
        return largest(state, digest, most) if full or waited_ns >= self.delay_ns else 0
