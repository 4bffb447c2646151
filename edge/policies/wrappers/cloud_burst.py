"""Sends work that this box cannot finish in time to lanes that cost money, within a budget."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from edge.core.events import NEVER, Action, Event, Run, Task, Time, WakeAt
from edge.core.interfaces import Moment, Policy
from edge.core.queues import Entry, Queues
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.feasibility import run, wake
from edge.policies.blocks.overflow import Trip, left_behind, trips
from edge.policies.size_or_timeout import SizeOrTimeout

SAVED_S = 1.0  # seconds of unspent budget that are kept at most


@dataclass
class CloudBurst:
    """Sends tasks to remote lanes if the local lanes will miss their deadlines and the remote ones will not.

    `inner` decides for the lanes of this box, as if there were no others.

    `inner`: any policy.
    `price`: cost of one task on a lane whose traits say `remote`, in any currency, at least 0.
    `budget_per_s`: budget per second in that currency, at least 0; what is unspent is kept for a second.
    `batch_max`: largest number of tasks in a remote batch, and in a local one of the prediction; at least 1.
    `look_ahead`: number of batches that the prediction plays out.
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
            "price": "ours: 1, so that the budget is counted in tasks",
            "budget_per_s": "ours: a tenth of what one small GPU serves in a second; the paper has none",
            "batch_max": "ours: a remote batch takes until its last byte has arrived; the paper sends one by one",
            "look_ahead": "ours: more batches than any deadline leaves time for",
        },
        deviations=(
            "tasks are sent by predicted miss, one by one; the paper sends what exceeds the rate of its instances",
            "a budget bounds what is spent; the paper minimises the sum of what instances and functions cost",
        ),
        needs=frozenset({"remote"}),
    )

    spent: float = field(default=0.0, init=False, repr=False, compare=False)  # money since the start
    sent: int = field(default=0, init=False, repr=False, compare=False)  # tasks since the start
    _purse: float = field(default=0.0, init=False, repr=False, compare=False)
    _counted_ns: Time = field(default=0, init=False, repr=False, compare=False)
    _counted: int = field(default=0, init=False, repr=False, compare=False)  # last work that is in the sums

    def __post_init__(self) -> None:
        if self.price < 0 or self.budget_per_s < 0 or self.batch_max < 1:
            raise ValueError(f"{self}: expected a price and a budget_per_s of 0 or more, a batch_max of at least 1")
        self._purse = self.full

    @property
    def full(self) -> float:
        """Returns the largest amount that can be saved; enough for one task if there is any budget."""
        return max(self.price, self.budget_per_s * SAVED_S) if self.budget_per_s else 0.0

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        """Runs a planned batch on an idle remote lane, else asks `inner` about the rest of the state."""
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
        """Returns the batches to send, as far as the budget goes; only those on idle lanes start now."""
        most = self._affordable(remote, now)
        if not most:
            return []
        behind = left_behind(state, here, now, self.batch_max, self.look_ahead)
        return [*trips(state, behind, remote, now, self.batch_max, most)]

    def _affordable(self, remote: Sequence[Lane], now: Time) -> int:
        """Returns how many tasks the budget pays for.

        What was ordered since the last moment is subtracted here, since `observe` counts it only after all decisions.
        """
        if not self.price:
            return self.look_ahead * self.batch_max
        new = [lane.running for lane in remote if lane.running and lane.running.work_id > self._counted]
        left = self._saved(now) - self.price * sum(len(work.tasks) for work in new)
        return max(0, int(left / self.price + 1e-9))

    def _saved(self, now: Time) -> float:
        return min(self.full, self._purse + self.budget_per_s * (now - self._counted_ns) / 1e9)

    def _sooner(self, state: State, action: Action | None, planned: Sequence[Trip], now: Time) -> Action | None:
        """Returns the action of `inner`, with an earlier wake-up for when a task can no longer wait for a remote lane.

        From then on `inner` decides about the task.
        """
        if not planned or not (action is None or isinstance(action, WakeAt)):
            return action
        latest_ns = min(latest_start(state, trip.lane, task) for trip in planned for task in trip.tasks)
        ours = wake(state, max(now, latest_ns) + 1)
        return ours if action is None or (ours and ours.time_ns < action.time_ns) else action

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Counts the cost of works that were started; posts no events."""
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
    """Returns the latest time at which the task can start on this lane and still meet its deadline."""
    return (NEVER if task.deadline_ns is None else task.deadline_ns) - state.remaining_ns(task, lane)


def without(state: State, here: Sequence[Lane], planned: Sequence[Trip]) -> State:
    """Returns the state restricted to these lanes, without the tasks of planned batches."""
    taken = {task.id for trip in planned for task in trip.tasks}
    queues = Queues()  # to be read only
    queues |= {digest: left for digest, queue in state.queues.items() if (left := untaken(queue, taken))}
    resident = {digest for lane in here for digest in lane.residency.resident}
    return replace(state, lanes={lane.name: lane for lane in here}, queues=queues, resident=resident)


def untaken(queue: list[Entry], taken: Container[int]) -> list[Entry]:
    """Returns the entries of a queue but those of these tasks."""
    return [entry for entry in queue if entry[1] not in taken]
