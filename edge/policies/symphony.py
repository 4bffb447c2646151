"""Implements Symphony: lets a lane idle while a batch can grow, and drops old requests that would keep it small."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from edge.core.events import Action, Event, Run, Task, Time
from edge.core.interfaces import Moment
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.meters.traffic import Traffic
from edge.plugins import About
from edge.policies.blocks.batching import latest_start_ns, worth_a_try
from edge.policies.blocks.feasibility import (
    finish_by_ns,
    give_up,
    idle,
    largest_within,
    loaded,
    run,
    shed,
    shed_ns,
    sizes,
    tail_ns,
    wake,
)
from edge.policies.blocks.variant_options import due_ns
from edge.policies.blocks.window_drop import window

Mode = Literal["frontrun", "immediately", "beta_lambda", "credit"]
Target = Literal["lanes", "rate"]


@dataclass(frozen=True, slots=True)
class QueueCandidate:
    """Describes what one queue would run.

    `frontrun_ns`: time until which the next larger batch would also be in time.
    `ready_ns`: time from which on the batch may start.
    """

    tasks: tuple[Task, ...]
    frontrun_ns: Time
    ready_ns: Time


@dataclass
class Symphony:
    """Runs, of the batches that may start, the one with the earliest frontrun.

    Raises `ValueError` for an unknown `mode` or `target`.

    `mode`: when a batch may start. "frontrun": when the next larger one would be too late. "immediately": at once.
        "beta_lambda": at once if it holds as many tasks as arrive during the fixed part of its duration, else as
        "frontrun". "credit": at once while earlier batches together were as efficient as the target batch, else as
        "frontrun".
    `target`: batch to aim at when deciding what to drop: the largest one that runs within the SLO after a wait.
        "lanes": the wait for the next lane that holds the stage, where these lanes start batches at equal distances.
        "rate": that, or the time in which so many tasks arrive, whichever is longer.
    `batch_max`: largest number of tasks in one batch.
    `overhead_us`: microseconds taken off every deadline, for the delay between the decision and the lane.
    `credit_batches`: inefficiency that a queue is allowed, in batches of one ("credit").
    `credit_period`: number of target batches after which the allowance is renewed ("credit").
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    mode: Mode = "frontrun"
    target: Target = "lanes"
    batch_max: int = 32
    overhead_us: float = 100.0
    credit_batches: float = 1.0
    credit_period: float = 10.0
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="Symphony: Chen et al., arXiv 2308.07470, 2023",
        sources={
            "mode": "the paper; on one lane beta_lambda serves more, since the frontruns of several queues collide",
            "target": "the paper, for lanes that are never idle; the authors' code uses the rate, which makes small "
            "batches on a lane that several models share, and serves less under overload",
            "batch_max": "ours: what the stages accept decides",
            "overhead_us": "the authors' code: the jitter of its timers",
            "credit_batches": "ours: the authors' code leaves it to its configuration",
            "credit_period": "ours: the authors' code leaves it to its configuration",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
        deviations=(
            "the next larger batch is the next one that the stage accepts; if there is none the batch starts at once",
            "the target batch ignores the variance of the arrival rate",
            "drops are decided when a lane is idle, not on every arrival",
            "a task that is late even alone is dropped even if no lane could run it now",
        ),
    )

    def __post_init__(self) -> None:
        for name, known in (("mode", get_args(Mode)), ("target", get_args(Target))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r}: one of {', '.join(known)}")
        self.boundary_ns = round(self.boundary_ms * 1e6)
        self.overhead_ns = round(self.overhead_us * 1e3)
        self.traffic = Traffic()
        self._credits: dict[str, tuple[float, float]] = {}  # stage -> ns saved, target batches since the last renewal

    def order(self, task: Task) -> tuple[int, ...]:
        return (due_ns(task), -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops a lost task, else runs the ready batch with the earliest frontrun, else sleeps."""
        lanes = idle(state)
        if not lanes or not state.queues:
            return None
        if reply := shed(state, now, "hopeless"):
            return reply
        wake_ns = shed_ns(state, "hopeless")
        for lane in lanes:
            ready = []
            for digest, queue in loaded(state, lane):
                found = self._candidate(state, digest, queue, lane, now)
                if isinstance(found, Task):
                    return give_up(state, found)
                wake_ns = min(wake_ns, found.ready_ns)
                if found.ready_ns <= now:
                    ready.append((found.frontrun_ns, queue[0], found))
            if ready:
                return run(state, lane, min(ready)[2].tasks, self.boundary_ns)
        return wake(state, wake_ns)

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Measures arrival rates and, in mode "credit", the efficiency of runs; posts no events."""
        self.traffic.see(moment)
        for action in moment.actions if self.mode == "credit" else ():
            if isinstance(action, Run) and not action.background and action.lane in moment.state.lanes:
                self._charge(moment.state, action, moment.now)
        return ()

    def _candidate(self, state: State, digest: str, queue: list[Entry], lane: Lane, now: Time) -> QueueCandidate | Task:
        """Returns the queue's batch, or a task that has to be dropped first."""
        head = queue[0][2]
        if head.attempts or (worth_a_try(state, head, lane, now) and latest_start_ns(state, head, lane) < now):
            return QueueCandidate((head,), now, now)
        target = self._target(state, head, lane, now)
        tasks = window(state, [task for _, _, task in queue if not task.attempts], lane, now, target, self.batch_max)
        if isinstance(tasks, Task):
            return tasks
        batches = state.stages[digest].batches
        more = [size for size in batches if len(tasks) < size <= self.batch_max]
        frontrun_ns = finish_by_ns(state, tasks[0], lane) - self.overhead_ns
        frontrun_ns -= state.duration_ns(digest, more[0] if more else len(tasks), lane)
        at_once = not more or self._at_once(state, digest, len(tasks), more[0], target, lane, now)
        return QueueCandidate(tasks, frontrun_ns, now if at_once else max(now, frontrun_ns))

    def _at_once(self, state: State, digest: str, size: int, next_: int, target: int, lane: Lane, now: Time) -> bool:
        if self.mode == "beta_lambda":
            return self._beta_lambda(state, digest, size, next_ if size == target else target, lane, now)
        if self.mode == "credit":
            saved = self._credits.get(digest, (self._forgiven(state, digest, target, lane), 0.0))[0]
            return saved + gain_ns(state, digest, size, target, lane) >= 0
        return self.mode == "immediately"

    def _beta_lambda(self, state: State, digest: str, size: int, other: int, lane: Lane, now: Time) -> bool:
        """Returns whether the batch holds as many tasks as arrive during the fixed part of its duration.

        Durations are taken as a line through this batch and the other one.
        """
        took, other_took = (state.duration_ns(digest, batch, lane) for batch in (size, other))
        fixed_ns = took - size * (other_took - took) / (other - size)
        rate = self._rate(state, digest, now)
        return rate > 0 and size >= fixed_ns * rate / 1e9

    def _rate(self, state: State, digest: str, now: Time) -> float:
        """Returns the arrival rate of this stage in tasks per second; 0 while it is unknown."""
        models = [name for name, model in state.models.items() if model.serving and digest in model.serving.stages]
        return sum(self.traffic.meter.rate(name, now) for name in models)

    def _target(self, state: State, head: Task, lane: Lane, now: Time) -> int:
        digest = head.chain[head.at]
        time_ns = due_ns(head) - head.arrived_ns - tail_ns(state, head, lane) - self.overhead_ns
        holders = sum(digest in other.residency.resident for other in state.lanes.values())
        if self.target == "lanes" or not (rate := self._rate(state, digest, now)):
            return largest_within(state, digest, lane, self.batch_max, time_ns * holders // (holders + 1)) or 1
        best = 1
        for batch in sizes(state, digest, self.batch_max):
            took = state.duration_ns(digest, batch, lane)
            if took + max(took / holders, batch / rate * 1e9) > time_ns:
                break
            best = batch
        return best

    # ---- credit ------------------------------------------------------------------------------------------------------

    def _charge(self, state: State, order: Run, now: Time) -> None:
        digest, lane = order.stages[0], state.lanes[order.lane]
        target = self._target(state, order.tasks[0], lane, now)
        saved, batches = self._credits.get(digest, (self._forgiven(state, digest, target, lane), 0.0))
        batches += len(order.tasks) / target
        if batches < self.credit_period:
            self._credits[digest] = saved + gain_ns(state, digest, len(order.tasks), target, lane), batches
        else:
            self._credits = {known: credit for known, credit in self._credits.items() if known in state.stages}
            self._credits.pop(digest, None)

    def _forgiven(self, state: State, digest: str, target: int, lane: Lane) -> float:
        return -self.credit_batches * gain_ns(state, digest, 1, target, lane)


def gain_ns(state: State, digest: str, size: int, target: int, lane: Lane) -> float:
    """Returns the time saved against running these tasks in target batches; negative below the target size."""
    return size * state.duration_ns(digest, target, lane) / target - state.duration_ns(digest, size, lane)
