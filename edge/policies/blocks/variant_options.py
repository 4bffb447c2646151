"""Lists the ways to serve a waiting task on one lane: the variants and early exits of its model.

A variant qualifies if its chain agrees with the stages that the task has passed and its next stage is loaded. As in
`edge.policies.blocks.feasibility`, a task needs its next stage as part of a batch and the stages after it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from edge.core.events import NEVER, Reply, Run, Task, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.policies.blocks.batching import run_of_stages
from edge.policies.blocks.feasibility import give_up, idle, largest_within
from porting.variant import Variant


@dataclass(frozen=True, slots=True)
class Offer:
    """Describes one way to serve a task on one lane.

    `stage`: its next stage.
    `after_ns`: duration of the rest of its chain, in batches of one.
    """

    lane: Lane
    variant: str  # empty: the chain that the task has
    stage: str
    after_ns: Time
    accuracy: float  # 0..1; 1 if not measured

    def duration_ns(self, state: State, batch: int) -> Time:
        """Returns the duration of the next stage in a batch of this size, and of the rest of the chain."""
        return state.duration_ns(self.stage, batch, self.lane) + self.after_ns

    def largest(self, state: State, most: int, time_ns: Time) -> int:
        """Returns the largest accepted batch up to `most` that takes at most `time_ns`, its rest included; else 0."""
        return largest_within(state, self.stage, self.lane, most, time_ns - self.after_ns)


def offers(state: State, task: Task, lane: Lane) -> list[Offer]:
    """Returns all ways on this lane, the most accurate first, of equally accurate ones the slowest first."""
    resident = lane.residency.resident
    own, others = split(state, task)
    if not others:
        if (stage := task.chain[task.at]) not in resident:
            return []
        return [Offer(lane, "", stage, rest_ns(state, task.chain[task.at + 1 :], lane), accuracy(own))]
    chains = [("", task.chain, own)] + [(variant.name, variant.stages, variant) for variant in others]
    held = [
        Offer(lane, name, chain[task.at], rest_ns(state, chain[task.at + 1 :], lane), accuracy(variant))
        for name, chain, variant in chains
        if chain[task.at] in resident
    ]
    if len(held) > 1:
        held.sort(key=lambda way: (-way.accuracy, -way.duration_ns(state, 1), way.variant))
    return held


def split(state: State, task: Task) -> tuple[Variant | None, list[Variant]]:
    """Returns the variant with the task's own chain (None if it is gone) and the variants it may switch to."""
    model = state.models.get(task.model)
    own, others = None, []
    for variant in model.variants.values() if model else ():
        if variant.stages == task.chain:
            own = variant
        elif not task.fixed and len(variant.stages) > task.at and variant.stages[: task.at] == task.chain[: task.at]:
            others.append(variant)
    return own, others


def rest_ns(state: State, chain: Sequence[str], lane: Lane) -> Time:
    """Returns how long these stages take one after the other on this lane, in batches of one."""
    return sum([state.duration_ns(digest, 1, lane) for digest in chain]) if chain else 0


def accuracy(variant: Variant | None) -> float:
    """Returns the variant's accuracy, 0..1; 1 if it is unknown."""
    return 1.0 if variant is None or variant.accuracy is None else variant.accuracy


def mates(queue: Sequence[Entry], way: Offer, most: int) -> tuple[Task, ...]:
    """Returns the head and at most `most - 1` tasks after it that may go the same way; a failed head goes alone."""
    head = queue[0][2]
    if head.attempts:
        return (head,)
    waiting = (task for _, _, task in queue if not task.attempts)
    if way.variant:
        waiting = (task for task in waiting if alike(task, head))
    return tuple(islice(waiting, most))


def alike(task: Task, head: Task) -> bool:
    """Returns whether the task may switch to another variant together with the head."""
    return task.chain == head.chain and task.model == head.model and not task.fixed


def run(state: State, way: Offer, tasks: tuple[Task, ...], boundary_ns: int = 0) -> Run:
    """Returns the run of these tasks as one batch.

    Tasks that keep their variant also run the following stages that are shorter than `boundary_ns`.
    """
    stages = (way.stage,) if way.variant else run_of_stages(state, tasks, way.lane, boundary_ns)
    return Run(0, way.lane.name, stages, tasks, variant=way.variant)


# ---- tasks that are lost -------------------------------------------------------------------------------------------


def shed(state: State, now: Time) -> Reply | None:
    """Returns the reply that drops the first head that no way on any lane saves; None if there is none.

    The only waiting task is tried on an idle lane until its deadline: see `batching.worth_a_try`.
    """
    for digest, queue in state.queues.items():
        task = queue[0][2]
        if latest_ns(state, task) < now and not last_hope(state, digest, now):
            return give_up(state, task)
    return None


def last_hope(state: State, digest: str, now: Time) -> bool:
    """Returns whether the head is the only waiting task, is not expired, and an idle lane holds its stage."""
    queue = state.queues[digest]
    alone = len(state.queues) == 1 and len(queue) == 1
    return alone and now < due_ns(queue[0][2]) and any(digest in lane.residency.resident for lane in idle(state))


def shed_ns(state: State) -> Time:
    """Returns when `shed`, which returns None now, will drop something if nothing else happens."""
    heads = state.queues.heads()
    moments = [(latest_ns(state, task), due_ns(task)) for task in heads]
    return min([latest if latest >= state.now else due for latest, due in moments], default=NEVER) + 1


def latest_ns(state: State, task: Task) -> Time:
    """Returns when the task must start, alone and on its quickest way; on its own chain if none is loaded."""
    lanes, model = state.lanes.values(), state.models.get(task.model)
    if model is None or len(model.variants) < 2:
        return due_ns(task) - min([state.remaining_ns(task, lane) for lane in lanes], default=0)
    ways = [way.duration_ns(state, 1) for lane in lanes for way in offers(state, task, lane)]
    return due_ns(task) - (min(ways) if ways else min((state.remaining_ns(task, lane) for lane in lanes), default=0))


def due_ns(task: Task) -> Time:
    """Returns the task's deadline; NEVER without one."""
    return NEVER if task.deadline_ns is None else task.deadline_ns
