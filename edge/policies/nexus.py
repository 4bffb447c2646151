"""Implements Nexus' dispatch: models take turns with the batch sizes of the plan; old heads are dropped for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Literal

from edge.core.events import NEVER, Action, Task, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.batching import together, worth_a_try
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
from edge.policies.blocks.placement_loading import place
from edge.policies.blocks.round_robin_order import Ring


@dataclass
class Nexus:
    """Lets queues take turns, each with its target batch.

    The target is that of `plan.batches`; without a plan, the largest batch that fits twice into the SLO.

    `drop`: "window" drops every head that is too late for the whole target batch; "earliest" makes the batch as small
        as the head needs it.
    `stretch`: whether a queue longer than the plan's batch, as after a burst, may also run the batch that fits twice
        into the SLO.
    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    drop: Literal["window", "earliest"] = "window"
    stretch: bool = True
    batch_max: int = 64
    boundary_ms: float = 2.0
    _served: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)  # lane -> stage

    about: ClassVar[About] = About(
        paper="Nexus (Shen et al., SOSP 2019, sections 4 and 6.3)",
        sources={
            "drop": "the paper; the other option is its baseline, lazy dropping",
            "stretch": "ours: batches made for the mean rate lose a twentieth of the requests under bursts",
            "batch_max": "ours: a cap on memory, where the stage accepts larger batches",
            "boundary_ms": "ours: what a boundary between two stages may cost",
        },
        deviations=(
            "a head that is late even alone is dropped at once, not when its model's turn comes",
            "models that share a stage have one turn, with the sum of their targets: prefix batching",
            "of a cascade only the first model has a deadline of its own, its budget; the rest have the request's",
            "with `stretch` a batch may be larger than the plan's; the paper keeps to the plan between two epochs",
            "the released scheduler's hysteresis between two plans (release 0.97, spill 1.05) is missing",
        ),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        deadline_ns = NEVER if task.deadline_ns is None else task.deadline_ns
        return (deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops hopeless heads, else serves the queue whose turn it is, else loads by plan, else sleeps."""
        self._follow(state)
        if reply := shed(state, now, "hopeless"):
            return reply
        for lane in idle(state):
            if queues := dict(served_by(state, lane)):
                digest = Ring(self._served.get(lane.name, "")).turns(queues)[0]
                return self._turn(state, now, lane, digest, queues[digest])
        return (place(state) if state.plan.placement else None) or wake(state, shed_ns(state, "hopeless"))

    def _follow(self, state: State) -> None:
        """Notes which stage each lane runs; to be called at every decision, before background work hides it."""
        for lane in state.lanes.values():
            if lane.running is not None and not lane.running.background:
                self._served[lane.name] = lane.running.stages[0]

    def _turn(self, state: State, now: Time, lane: Lane, digest: str, queue: Sequence[Entry]) -> Action:
        head = queue[0][2]
        most = 1 if head.attempts else min(len(queue), self._target(state, digest, queue, lane))
        left_ns = due_ns(state, head, lane) - now
        size = largest(state, digest, most)
        if self.drop == "earliest":
            size = largest_within(state, digest, lane, most, left_ns) or 1
        if state.duration_ns(digest, size, lane) > left_ns and not worth_a_try(state, head, lane, now):
            return give_up(state, head)
        return run(state, lane, together(queue, size), self.boundary_ns)

    def _target(self, state: State, digest: str, queue: Sequence[Entry], lane: Lane) -> int:
        """Returns the sum of the targets of all models that wait for this stage, since they share its batch."""
        heads = {task.model: task for _, _, task in reversed([*islice(queue, self.batch_max)])}
        wanted = sum(self._batch(state, digest, task, lane) for task in heads.values())
        return min(wanted, self.batch_max)

    def _batch(self, state: State, digest: str, task: Task, lane: Lane) -> int:
        planned = state.plan.batches.get(task.model)
        if task.deadline_ns is None or (planned is not None and not self.stretch):
            return planned or 1
        half_ns = (task.deadline_ns - task.arrived_ns) // 2 - tail_ns(state, task, lane)
        return max(1, planned or 1, largest_within(state, digest, lane, self.batch_max, half_ns))


def due_ns(state: State, task: Task, lane: Lane) -> Time:
    """Returns when the task's next stage must be over, by its model's part of the deadline if the plan divides it."""
    by_ns = finish_by_ns(state, task, lane)
    budget_ns = state.plan.budgets_ns.get(task.model) if task.parent is None else None
    return by_ns if budget_ns is None else min(by_ns, task.arrived_ns + budget_ns - tail_ns(state, task, lane))
