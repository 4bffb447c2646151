"""Implements AlpaServe's serving: first come, first served on the lanes of the plan, batched within the deadline."""

from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Action, Task, Time
from edge.core.state import State
from edge.plugins import About
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import idle, largest_feasible, run, shed, shed_ns, wake
from edge.policies.blocks.lane_assignment import served_by
from edge.policies.blocks.placement_loading import place
from edge.policies.blocks.variant_options import due_ns


@dataclass
class FirstCome:
    """Runs the head that arrived first, with as many tasks of its queue as its deadline allows.

    A model runs where `plan.placement` puts it, and what the plan puts on a lane is loaded there.

    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    batch_max: int = 32
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="AlpaServe: Li et al., OSDI 2023 (arXiv 2302.11665)",
        sources={
            "batch_max": "ours: what the stages accept decides; the authors' code stops at 16",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
        deviations=(
            "a model is not cut into parts that run on several lanes at once",
            "a lane takes its next batch when it is free; in the paper a request goes on arrival to the group with "
            "the shortest queue",
        ),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        """Sorts a queue by deadline: with one SLO that is the order of arrival."""
        return (due_ns(task), -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Loads what the plan places, else drops hopeless heads, else runs the oldest head of an idle lane."""
        if action := place(state):
            return action
        lanes = idle(state)
        if not lanes or not state.queues:
            return None
        if reply := shed(state, now, "hopeless"):
            return reply
        for lane in lanes:
            if queues := served_by(state, lane):
                queue = min((queue for _, queue in queues), key=lambda queue: (queue[0][2].arrived_ns, queue[0]))
                size = largest_feasible(state, queue, lane, now, self.batch_max) or 1
                return run(state, lane, together(queue, size), self.boundary_ns)
        return wake(state, shed_ns(state, "hopeless"))
