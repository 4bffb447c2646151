"""Implements MArk's batching: a batch starts at its full size or after a timeout, the first due one first."""

from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import NEVER, Action, Run, Task, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import idle, largest, largest_feasible, loaded, run, shed, shed_ns, wake


@dataclass
class SizeOrTimeout:
    """Runs a queue once it has `size` tasks or its first task has waited for `timeout_ms`.

    Raises `ValueError` for options out of range.

    `size`: tasks in a full batch, as far as the stage accepts so many; at least 1.
    `timeout_ms`: milliseconds that the first task waits for more, at least 0.
    """

    size: int = 16
    timeout_ms: float = 5.0

    about: ClassVar[About] = About(
        paper="Zhang et al., MArk, ATC 2019: batching in each instance",
        sources={
            "size": "the published code, for its GPU instance",
            "timeout_ms": "ours: a tenth of the tightest deadline that is common in vision",
        },
        deviations=(
            "models share a lane, and the batch that is due first goes first; the paper has one model per instance",
            "a batch is no larger than its first deadline allows now; the paper sizes batches once, by the SLO",
            "tasks that can no longer be in time by estimate are dropped; the paper serves all of them",
        ),
    )

    def __post_init__(self) -> None:
        if self.size < 1 or self.timeout_ms < 0:
            raise ValueError(f"{self}: expected a size of at least 1 and a timeout_ms of 0 or more")
        self.timeout_ns = round(self.timeout_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.arrived_ns, -task.priority)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops hopeless heads, else runs the ready batch with the first deadline, else sleeps."""
        if reply := shed(state, now, "hopeless"):
            return reply
        wake_ns = shed_ns(state, "hopeless")
        for lane in idle(state):
            queues = loaded(state, lane)
            if due := [queue for digest, queue in queues if self._due(state, digest, queue, now)]:
                return self._run(
                    state, lane, min(due, key=lambda queue: (queue[0][2].deadline_ns or NEVER, queue[0])), now
                )
            wake_ns = min([wake_ns, *(queue[0][2].arrived_ns + self.timeout_ns for _, queue in queues)])
        return wake(state, wake_ns)

    def _due(self, state: State, digest: str, queue: list[Entry], now: Time) -> bool:
        full = len(queue) >= largest(state, digest, self.size)
        return full or now - queue[0][2].arrived_ns >= self.timeout_ns

    def _run(self, state: State, lane: Lane, queue: list[Entry], now: Time) -> Run:
        size = largest_feasible(state, queue, lane, now, self.size)
        return run(state, lane, together(queue, max(1, size)))
