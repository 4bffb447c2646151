"""What these lanes cannot end in time goes to lanes that cost money, where that makes it and the budget allows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from edge.core.events import NEVER, Action, Event, Run, Task, Time, WakeAt
from edge.core.interfaces import About, Moment, Policy
from edge.core.state import Entry, Lane, State
from edge.policies.blocks.feasibility import run, wake
from edge.policies.blocks.overflow import Trip, left_behind, trips
from edge.policies.size_or_timeout import SizeOrTimeout

SAVED_S = 1.0  # of budget that was not spent, at most


@dataclass
class Burst:
    """`inner` decides for the lanes in this box, as if there were no others.

    `price`: of one task on a lane whose traits say `remote`, in any money. `budget_per_s`: of that money; what is left
    over is kept for a second. `batch_max`: tasks in one batch there, and here in the prediction. `look_ahead`: batches
    that the prediction plays out.
    """

    inner: Policy = field(default_factory=SizeOrTimeout)
    price: float = 1.0
    budget_per_s: float = 50.0
    batch_max: int = 8
    look_ahead: int = 256

    about: ClassVar[About] = About(
        paper="Zhang et al., MArk, ATC 2019: serverless functions take what the instances cannot",
        sources={
            "inner": "the paper batches by size or timeout",
            "price": "ours: money is counted in tasks",
            "budget_per_s": "ours: a tenth of what one small GPU serves in a second; the paper has none",
            "batch_max": "ours: a batch that far away is as long as its last byte; the paper sends one by one",
            "look_ahead": "ours: more batches than any deadline leaves time for",
        },
        deviations=(
            "who goes is decided by a predicted miss, task by task; the paper sends what is beyond the instances' rate",
            "a budget bounds what is spent; the paper minimises the sum of what instances and functions cost",
        ),
        needs=frozenset({"remote"}),
    )

    spent: float = field(default=0.0, init=False, repr=False, compare=False)  # money, since the beginning
    sent: int = field(default=0, init=False, repr=False, compare=False)  # tasks
    _purse: float = field(default=0.0, init=False, repr=False, compare=False)
    _counted_ns: Time = field(default=0, init=False, repr=False, compare=False)
    _counted: int = field(default=0, init=False, repr=False, compare=False)  # the last work that is in the sums

    def __post_init__(self) -> None:
        if self.price < 0 or self.budget_per_s < 0 or self.batch_max < 1:
            raise ValueError(f"{self}: expected a price and a budget_per_s of 0 or more, a batch_max of at least 1")
        self._purse = self.full

    @property
    def full(self) -> float:
        return max(self.price, self.budget_per_s * SAVED_S) if self.budget_per_s else 0.0

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        remote = [lane for lane in state.lanes.values() if lane.traits.remote]
        if not remote:
            return self.inner.decide(state, now)
        here = [lane for lane in state.lanes.values() if not lane.traits.remote]
        planned = self._trips(state, here, remote, now) if state.queues else []
        for trip in planned:
            if trip.lane.running is None:
                return run(state, trip.lane, trip.tasks, NEVER)
        action = self.inner.decide(without(state, here, planned), now)
        return self._sooner(state, action, planned, now)

    def _trips(self, state: State, here: Sequence[Lane], remote: Sequence[Lane], now: Time) -> list[Trip]:
        """Batches that are worth their money, the first of each lane that is free at once."""
        most = self._affordable(remote, now)
        if not most:
            return []
        behind = left_behind(state, here, now, self.batch_max, self.look_ahead)
        return [*trips(state, behind, remote, now, self.batch_max, most)]

    def _affordable(self, remote: Sequence[Lane], now: Time) -> int:
        """Tasks. What was ordered at this moment is not in the sums yet: `observe` hears of it when all is decided."""
        if not self.price:
            return self.look_ahead * self.batch_max
        new = [lane.running for lane in remote if lane.running and lane.running.work_id > self._counted]
        left = self._saved(now) - self.price * sum(len(work.tasks) for work in new)
        return max(0, int(left / self.price + 1e-9))

    def _saved(self, now: Time) -> float:
        return min(self.full, self._purse + self.budget_per_s * (now - self._counted_ns) / 1e9)

    def _sooner(self, state: State, action: Action | None, planned: Sequence[Trip], now: Time) -> Action | None:
        """Look again when a task that waits for a lane far away can no longer wait: it is for `inner` to give up."""
        if not planned or not (action is None or isinstance(action, WakeAt)):
            return action
        latest_ns = min(latest_start(state, trip.lane, task) for trip in planned for task in trip.tasks)
        ours = wake(state, max(now, latest_ns) + 1)
        return ours if action is None or (ours and ours.time_ns < action.time_ns) else action

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Count what was spent."""
        for action in moment.actions:
            if isinstance(action, Run) and action.work_id > self._counted:
                self._count(action, moment)
        return ()

    def _count(self, work: Run, moment: Moment) -> None:
        self._counted = work.work_id
        lane = moment.state.lanes.get(work.lane)
        if lane is not None and lane.traits.remote:
            money = self.price * len(work.tasks)
            self._purse, self._counted_ns = self._saved(moment.now) - money, moment.now
            self.spent, self.sent = self.spent + money, self.sent + len(work.tasks)


def latest_start(state: State, lane: Lane, task: Task) -> Time:
    return (NEVER if task.deadline_ns is None else task.deadline_ns) - state.remaining_ns(task, lane)


def without(state: State, here: Sequence[Lane], planned: Sequence[Trip]) -> State:
    """The state as it is for these lanes alone, without the tasks that others wait for."""
    taken = {task.id for trip in planned for task in trip.tasks}
    queues = state.queues
    if taken:
        left: dict[str, list[Entry]] = {
            digest: [entry for entry in queue if entry[1] not in taken] for digest, queue in queues.items()
        }
        queues = {digest: queue for digest, queue in left.items() if queue}
    resident = {digest for lane in here for digest in lane.residency.resident}
    return replace(state, lanes={lane.name: lane for lane in here}, queues=queues, resident=resident)
