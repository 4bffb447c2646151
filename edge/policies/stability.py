"""Implements EdgeServing's stability score: runs the batch that leaves all queues together least urgent."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import NEVER, Action, Event, Task, Time
from edge.core.interfaces import Moment
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.meters.slo_attainment import Attainment
from edge.meters.urgency import Pressure
from edge.plugins import About
from edge.policies.blocks.feasibility import idle, largest, wake
from edge.policies.blocks.variant_options import Offer, due_ns, mates, offers, run, shed, shed_ns

Candidate = tuple[Offer, tuple[Task, ...], list[Entry]]  # way, batch, queue that it is taken from


@dataclass
class Stability:
    """Runs the candidate after which the summed urgency of all waiting tasks is smallest.

    Each queue has one candidate: as many tasks as wait, on the deepest exit with which its head is in time; if there is
    none, as many as the shallowest exit allows. The urgency of a task is min(cap, exp((time waited, including the run)
    / SLO - 1)). Raises `ValueError` for options out of range.

    `cap`: largest urgency of one task, above 0.
    `batch_max`: largest number of tasks in one batch, at least 1.
    `debt_min`: 0: all requests count alike. Otherwise a request counts 1 / max(debt_min, recent share of its app's
        requests in time), which helps apps that were served badly.
    `forget`: weight of the latest request in those shares.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    cap: float = 10.0
    batch_max: int = 32
    debt_min: float = 0.0
    forget: float = 0.01
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="EdgeServing: Cao et al., ICCCN 2026 (arXiv 2605.05527)",
        sources={
            "cap": "a public prototype that is probably the authors'",
            "batch_max": "ours: what the stages accept decides",
            "debt_min": "ours: 0 is the paper; with 0.2 the starved model of an overloaded box gets its share back",
            "forget": "ours: about the last hundred requests",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
        deviations=(
            "if no exit is in time for all that wait, the batch is made smaller on the shallowest one; "
            "with a model of a single exit that is the largest batch in time",
            "tasks that no exit can save are dropped, so that they do not make others late",
            "several lanes: each idle one chooses in turn; the paper has one GPU",
        ),
    )

    def __post_init__(self) -> None:
        if self.cap <= 0 or self.batch_max < 1:
            raise ValueError("cap must be above 0 and batch_max at least 1")
        self.boundary_ns = round(self.boundary_ms * 1e6)
        self.attainment = Attainment(self.forget)
        self._pressure = Pressure(lambda task: "", self.cap)

    def order(self, task: Task) -> tuple[int, ...]:
        return (NEVER if task.deadline_ns is None else task.deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops a lost task, else runs the best candidate of an idle lane, else asks to be woken."""
        lanes = idle(state)
        if not lanes or not state.queues:
            return None
        if reply := shed(state, now):
            return reply
        for lane in lanes:
            candidates = [*self._candidates(state, lane, now)]
            if candidates:
                way, tasks, _ = candidates[0] if len(candidates) == 1 else self._calmest(state, candidates, now)
                return run(state, way, tasks, self.boundary_ns)
        return wake(state, shed_ns(state))

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Measures the shares of requests in time, if weights use them; posts no events."""
        if self.debt_min:
            self.attainment.observe(moment)
        return ()

    def _candidates(self, state: State, lane: Lane, now: Time) -> Iterator[Candidate]:
        for queue in state.queues.values():
            if ways := offers(state, queue[0][2], lane):
                yield *self._batch(state, queue, ways, due_ns(queue[0][2]) - now), queue

    def _batch(
        self, state: State, queue: list[Entry], ways: list[Offer], slack_ns: Time
    ) -> tuple[Offer, tuple[Task, ...]]:
        for way in ways:
            tasks = mates(queue, way, self.batch_max)
            tasks = tasks[: largest(state, way.stage, len(tasks))]
            if way.duration_ns(state, len(tasks)) <= slack_ns:
                return way, tasks
        way = min(ways, key=lambda way: way.duration_ns(state, 1))
        tasks = mates(queue, way, self.batch_max)
        return way, tasks[: way.largest(state, len(tasks), slack_ns) or 1]

    def _calmest(self, state: State, candidates: list[Candidate], now: Time) -> Candidate:
        """Returns the candidate with the smallest score; of equal ones the one with the most urgent head."""
        pressure = self._pressure
        pressure.name = (lambda task: app(state, task)) if self.debt_min else (lambda task: "")
        pressure.follow(state.queues, self._weights())
        ends = [now + way.duration_ns(state, len(tasks)) for way, tasks, _ in candidates]
        after = pressure.after(ends).tolist()

        def score(at: int) -> tuple[float, Entry]:
            _, tasks, queue = candidates[at]  # the first of the queue, unless one of them has failed before
            digest = tasks[0].chain[tasks[0].at]
            return after[at] - pressure.of(digest, len(tasks), ends[at]), queue[0]

        return candidates[min(range(len(candidates)), key=score)]

    def _weights(self) -> Mapping[str, float] | None:
        if not self.debt_min:
            return None
        return {name: 1 / max(self.debt_min, share) for name, share in self.attainment.shares.items()}


def app(state: State, task: Task) -> str:
    """Returns the name of the app that a task works for."""
    return state.requests[task.request].request.app
