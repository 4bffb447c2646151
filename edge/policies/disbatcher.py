"""Implements DeepRT's DisBatcher: frames that arrived within one window form a job, and jobs run by deadline."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import ClassVar

from edge.core.events import NEVER, Action, Event, Run, Task, Time
from edge.core.interfaces import Moment
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.meters.prediction_error import Expected, by_estimate
from edge.plugins import About
from edge.policies.blocks.feasibility import idle, largest, shed, shed_ns, wake
from edge.policies.blocks.variant_options import Offer, due_ns, mates, offers, run

Window = tuple[Time, int]  # length, number counted from time 0
Job = tuple[Time, list[Entry]]  # deadline, frames at the front of a queue


@dataclass
class DisBatcher:
    """Runs the job with the earliest deadline whose window is over.

    If jobs of a model took longer than estimated, its next jobs run a quicker variant until the lost time is won back.
    Raises `ValueError` for a `share` out of range.

    `share`: length of a window as a part of the SLO, above 0, at most 0.5: a frame that arrives at the start of its
        window waits one length for the end of the window, and its job has one more length to run.
    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    share: float = 0.5
    batch_max: int = 32
    boundary_ms: float = 2.0
    _overruns: dict[str, Time] = field(default_factory=dict, init=False, repr=False, compare=False)  # by model
    _expected: Expected = field(init=False, repr=False, compare=False)

    about: ClassVar[About] = About(
        paper="DeepRT: Yang et al., SEC 2021 (arXiv 2105.01803)",
        sources={
            "share": "the paper: windows of half the relative deadline",
            "batch_max": "ours: what the stages accept decides",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
        deviations=(
            "windows are counted from time 0, separately for each SLO of a stage, not from a stream's first frame",
            "a job that is too long for its head is cut, and lost frames are dropped; the paper lets them be late",
            "a quicker variant wins time back, where the paper uses smaller pictures",
        ),
    )

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise ValueError("share must be above 0 and at most 0.5: a job needs a second window to run in")
        self.boundary_ns = round(self.boundary_ms * 1e6)
        self._expected = Expected(usual_ns)

    def order(self, task: Task) -> tuple[int, ...]:
        return (due_ns(task), -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops hopeless heads, else runs the first released job that an idle lane can run, else sleeps."""
        lanes = idle(state)
        if not lanes or not state.queues:
            return None
        if reply := shed(state, now, "hopeless"):
            return reply
        jobs = sorted(self._jobs(state))
        for _, job in jobs:
            head = job[0][2]
            for lane in lanes if self.released_ns(head) <= now else ():
                if ways := offers(state, head, lane):
                    return self._run(state, job, ways, now)
        waiting = [self.released_ns(job[0][2]) for _, job in jobs]
        return wake(state, min([shed_ns(state, "hopeless"), *(time_ns for time_ns in waiting if time_ns > now)]))

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Adds up, by model, how much longer works took than expected; posts no events."""
        for ended, took_ns, expected_ns in self._expected.see(moment):
            model = ended.tasks[0].model
            self._overruns[model] = max(0, self._overruns.get(model, 0) + took_ns - expected_ns)
        return ()

    def released_ns(self, task: Task) -> Time:
        """Returns the end of the window in which the task arrived."""
        length, number = self._window(task)
        return (number + 1) * length

    def _window(self, task: Task) -> Window:
        if task.deadline_ns is None:
            return NEVER, 0
        length = max(1, int((task.deadline_ns - task.arrived_ns) * self.share))
        return length, task.arrived_ns // length

    def _jobs(self, state: State) -> Iterator[Job]:
        """Yields the first job of each queue."""
        for queue in state.queues.values():
            length, number = self._window(queue[0][2])
            yield (number + 2) * length, self._first_job(queue)

    def _first_job(self, queue: Sequence[Entry]) -> list[Entry]:
        window = self._window(queue[0][2])
        return [*takewhile(lambda entry: self._window(entry[2]) == window, queue)]

    def _run(self, state: State, job: Sequence[Entry], ways: list[Offer], now: Time) -> Run:
        way = self._way(state, ways, job[0][2].model, len(job))
        tasks = mates(job, way, self.batch_max)
        size = largest(state, way.stage, len(tasks))
        left_ns = due_ns(tasks[0]) - now
        if way.duration_ns(state, size) > left_ns:
            size = way.largest(state, size, left_ns) or 1
        return run(state, way, tasks[:size], self.boundary_ns)

    # ---- adaptation --------------------------------------------------------------------------------------------------

    def _way(self, state: State, ways: list[Offer], model: str, size: int) -> Offer:
        """Returns the usual variant or, if the model has lost time, the most accurate one that wins it back.

        If none wins all of it back, the quickest one.
        """
        usual = next((way for way in ways if not way.variant), ways[0])
        lost_ns = self._overruns.get(model, 0)
        if not lost_ns:
            return usual

        def took(way: Offer) -> Time:
            return way.duration_ns(state, largest(state, way.stage, size))

        enough = (way for way in ways if took(usual) - took(way) >= lost_ns)
        return next(enough, min(ways, key=took))


def usual_ns(state: State, order: Run, lane: Lane) -> Time:
    """Returns how long the run's tasks would take with the serving variant, to compare a quicker run with."""
    task, batch = order.tasks[0], len(order.tasks)
    expected = by_estimate(state, order, lane)
    serving = state.models[task.model].serving
    if order.variant and serving is not None:
        expected += chain_ns(state, serving.stages[task.at :], batch, lane)
        expected -= chain_ns(state, task.chain[task.at :], batch, lane)
    return expected


def chain_ns(state: State, chain: Sequence[str], batch: int, lane: Lane) -> Time:
    """Returns the duration of a chain, its first stage in a batch of this size and the others in batches of one."""
    return state.duration_ns(chain[0], batch, lane) + sum([state.duration_ns(each, 1, lane) for each in chain[1:]])
