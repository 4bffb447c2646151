"""Implements AlpaServe's admission: refuses a request at once if the waiting work would make it late.

A client that is told at once can send its request elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edge.core.events import Action, Event, Reply, Task, Time
from edge.core.interfaces import Moment, Policy
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.meters.new_requests import Newcomers
from edge.meters.prediction_error import Expected
from edge.plugins import About
from edge.policies.blocks.feasibility import largest_within
from edge.policies.blocks.lane_assignment import belongs
from edge.policies.blocks.variant_options import due_ns, rest_ns


@dataclass
class AdmissionControl:
    """Refuses a request with a deadline on arrival if it is predicted to end after it, else leaves it to `inner`.

    The prediction is the time at which the first of its lanes is free, plus the work that waits there, plus
    `overhead_ms`. Durations are estimates times a scale: it starts at 1 and rises by `step`, up to `most`, with every
    work that took more than `above` times its expected duration.

    `inner`: any policy.
    `overhead_ms`: milliseconds that are added to every prediction.
    `above`: ratio of actual to expected duration above which the scale rises.
    `step`: increment of the scale.
    `most`: largest scale.
    `batch_max`: largest batch in which the waiting work is counted.
    """

    inner: Policy
    overhead_ms: float = 4.0
    above: float = 1.2
    step: float = 0.03
    most: float = 1.08
    batch_max: int = 32
    _scale: float = field(default=1.0, init=False, repr=False, compare=False)

    about: ClassVar[About] = About(
        paper="AlpaServe: Li et al., OSDI 2023 (arXiv 2302.11665)",
        sources={
            "inner": "ours: any policy may be wrapped",
            "overhead_ms": "the authors' code: fixed overhead",
            "above": "the authors' code: correction of its latency scale",
            "step": "the authors' code: correction of its latency scale",
            "most": "the authors' code: correction of its latency scale",
            "batch_max": "ours: what the stages accept decides",
        },
        deviations=(
            "what waits is counted in the largest batches that run within half their SLO; the paper's clocks count "
            "each request alone",
            "the lanes of a model are taken to share its waiting work equally",
            "only the first task of a request is predicted: what its result leads to is not known yet",
        ),
    )

    def __post_init__(self) -> None:
        self.overhead_ns = round(self.overhead_ms * 1e6)
        self.newcomers = Newcomers()
        self._expected = Expected()

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        """Refuses the first new request that is predicted to be late, else asks `inner`."""
        for opened in self.newcomers.waiting(state):
            for task in opened.waiting.values():
                if self.predicted_ns(state, task, now) > due_ns(task):
                    return Reply(opened.request.id, "refused", detail="what waits already would make it late")
        return self.inner.decide(state, now)

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Follows which requests are new and raises the scale after works that took too long; posts no events."""
        self.newcomers.see(moment)
        for _, took_ns, expected_ns in self._expected.see(moment):
            if took_ns > self.above * expected_ns:
                self._scale = min(self.most, self._scale + self.step)
        return ()

    def predicted_ns(self, state: State, task: Task, now: Time) -> Time:
        """Returns when the task will have been answered; `now`, as nothing is known, if no lane holds its stage."""
        digest = task.chain[task.at]
        homes = [lane for lane in state.lanes.values() if home(state, lane, digest, task)]
        if not homes:
            return now
        free_ns = min(self._free_ns(state, lane, now) for lane in homes)
        work = sum(
            self._work_ns(state, other, self._ahead(queue, task) if other == digest else queue, homes[0])
            for other, queue in state.queues.items()
            if any(home(state, lane, other, queue[0][2]) for lane in homes)
        )
        rest = rest_ns(state, task.chain[task.at + 1 :], homes[0])
        return free_ns + round((work / len(homes) + rest) * self._scale) + self.overhead_ns

    def _free_ns(self, state: State, lane: Lane, now: Time) -> Time:
        if lane.running is None:
            return now
        took = sum(state.duration_ns(digest, len(lane.running.tasks), lane) for digest in lane.running.stages)
        return max(now, lane.began_ns + round(took * self._scale))

    def _ahead(self, queue: Sequence[Entry], task: Task) -> Sequence[Entry]:
        """Returns the entries of its queue that go before the task, and its own."""
        entry = (self.order(task), task.id)
        return [other for other in queue if other[:2] <= entry]

    def _work_ns(self, state: State, digest: str, queue: Sequence[Entry], lane: Lane) -> Time:
        """Returns the duration of all these tasks in batches that run within half the SLO of the first."""
        head, number = queue[0][2], len(queue)
        half_ns = (due_ns(head) - head.arrived_ns) // 2
        size = max(1, largest_within(state, digest, lane, min(number, self.batch_max), half_ns))
        full, left = divmod(number, size)
        took = full * state.duration_ns(digest, size, lane)
        return took + (state.duration_ns(digest, left, lane) if left else 0)


def home(state: State, lane: Lane, digest: str, task: Task) -> bool:
    """Returns whether this lane will run the task, by the plan and by what it holds."""
    return digest in lane.residency.resident and belongs(state, lane, digest, task)
