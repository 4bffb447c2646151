"""Serves the queues in turn, each with as many tasks as wait, whatever their deadlines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Action, Task, Time
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.feasibility import Drop
from edge.policies.blocks.greedy import Queue, take
from edge.policies.blocks.round_robin_order import Ring


@dataclass
class RoundRobin:
    """Runs the queues in turn.

    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    `drop`: which tasks are dropped; "never" runs late tasks too and answers them late.
    """

    batch_max: int = 8
    boundary_ms: float = 2.0
    drop: Drop = "never"
    ring: Ring = field(default_factory=Ring, init=False, repr=False, compare=False)

    about: ClassVar[About] = About(
        paper="Nagle, On Packet Switches with Infinite Storage, RFC 970, 1985; the RR of serving papers",
        sources={
            "batch_max": "ours: a cap on memory, where the stage accepts larger batches",
            "boundary_ms": "ours: what a boundary between two stages may cost",
            "drop": "the baseline of the literature, which knows no deadlines",
        },
        deviations=("one turn takes a batch, not one request",),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        return (task.arrived_ns, -task.priority)

    def decide(self, state: State, now: Time) -> Action | None:
        self.ring.follow(state)
        return take(state, now, self._next, self.batch_max, self.boundary_ns, self.drop)

    def _next(self, queues: Sequence[Queue]) -> Queue:
        by_digest = dict(queues)
        digest = self.ring.turns(by_digest)[0]
        return digest, by_digest[digest]
