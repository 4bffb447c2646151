"""Implements Proteus' batching: a queue waits until its first task can no longer wait for the present batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import NEVER, Action, Event, Run, Task, Time
from edge.core.interfaces import Moment
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.feasibility import idle, largest, wake
from edge.policies.blocks.variant_options import Offer, due_ns, mates, offers, run, shed, shed_ns

Counts = dict[str, dict[str, int]]  # model -> variant -> requests
Batch = tuple[Time, Entry, Time, bool, Offer, tuple[Task, ...]]  # due, head, duration, may start at once, way, tasks


@dataclass
class AccScale:
    """Starts a batch at the last moment at which all batches of a lane, run one after the other, are in time.

    A queue's batch starts at once if it is the largest one, or if the last arrival made it too long for its first task;
    then as many tasks go as are in time. The variant is the one that lacks most of its share of `plan.variants` among
    those with which the first task is in time; without a plan, the serving variant.

    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    batch_max: int = 32
    boundary_ms: float = 2.0
    _taken: Counts = field(default_factory=dict, init=False, repr=False, compare=False)  # since the plan last changed

    about: ClassVar[About] = About(
        paper="Proteus: Ahmad et al., ASPLOS 2024 (doi 10.1145/3617232.3624849)",
        sources={
            "batch_max": "ours: what the stages accept decides",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
        deviations=(
            "a lane may serve several models, where the paper's device serves one: their batches are put in a row",
            "the shares of variants are kept batch by batch at dispatch, not request by request on arrival",
            "a variant with which the first task would be late is passed over",
            "no batch is padded: a batch is cut to a size that the stage accepts",
            "only tasks that no variant can save are dropped, not those that are too late for the present batch",
        ),
        needs=frozenset({"variants"}),
    )

    def __post_init__(self) -> None:
        self.boundary_ns = round(self.boundary_ms * 1e6)
        self._shares: Mapping[str, Mapping[str, float]] = {}

    def order(self, task: Task) -> tuple[int, ...]:
        return (due_ns(task), -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops a lost task, else runs the batch of an idle lane that must start now, else asks to be woken for it."""
        lanes = idle(state)
        if not lanes or not state.queues:
            return None
        if reply := shed(state, now):
            return reply
        wake_ns = shed_ns(state)
        for lane in lanes:
            batches = sorted(self._batches(state, lane, now), key=lambda batch: batch[:2])
            if not batches:
                continue
            begin_ns = latest_begin_ns(batches)
            _, _, _, at_once, way, tasks = next((batch for batch in batches if batch[3]), batches[0])
            if at_once or begin_ns <= now:
                return run(state, way, tasks, self.boundary_ns)
            wake_ns = min(wake_ns, begin_ns)
        return wake(state, wake_ns)

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Counts, per variant, the tasks that were run since the plan's shares last changed; posts no events."""
        if moment.state.plan.variants != self._shares:
            self._shares, self._taken = moment.state.plan.variants, {}
        for action in moment.actions:
            if isinstance(action, Run) and action.tasks[0].model in self._shares:
                task = action.tasks[0]
                taken = self._taken.setdefault(task.model, {})
                name = variant_of(moment.state, task)
                taken[name] = taken.get(name, 0) + len(action.tasks)
        return ()

    def _way(self, state: State, task: Task, ways: list[Offer], now: Time) -> Offer:
        own, taken = variant_of(state, task), self._taken.get(task.model, {})
        shares = state.plan.variants.get(task.model) or {own: 1.0}
        number = 1 + sum(taken.values())

        def lacks(way: Offer) -> float:
            name = way.variant or own
            return shares.get(name, 0.0) * number - taken.get(name, 0)

        in_time = [way for way in ways if now + way.duration_ns(state, 1) <= due_ns(task)]
        meant = [way for way in in_time if shares.get(way.variant or own)]
        quickest = min(ways, key=lambda way: way.duration_ns(state, 1))
        return max(meant or in_time or [quickest], key=lacks)

    def _batches(self, state: State, lane: Lane, now: Time) -> Iterator[Batch]:
        """Yields the batch that each queue would run on this lane."""
        for queue in state.queues.values():
            if ways := offers(state, queue[0][2], lane):
                way = self._way(state, queue[0][2], ways, now)
                tasks = mates(queue, way, self.batch_max)
                size = largest(state, way.stage, len(tasks))
                at_once = size == largest(state, way.stage, self.batch_max) or bool(tasks[0].attempts)
                left_ns = due_ns(tasks[0]) - now
                if way.duration_ns(state, size) > left_ns:
                    size, at_once = way.largest(state, size, left_ns) or 1, True
                yield due_ns(tasks[0]), queue[0], way.duration_ns(state, size), at_once, way, tasks[:size]


def latest_begin_ns(batches: Sequence[Batch]) -> Time:
    """Returns the latest start at which these batches, sorted by deadline, are in time one after the other."""
    begin_ns = NEVER
    for due, _, took_ns, *_ in reversed(batches):
        begin_ns = min(due, begin_ns) - took_ns
    return begin_ns


def variant_of(state: State, task: Task) -> str:
    """Returns the name of the variant whose chain the task has; empty if the model no longer has it."""
    variants = state.models[task.model].variants.values() if task.model in state.models else ()
    return next((variant.name for variant in variants if variant.stages == task.chain), "")
