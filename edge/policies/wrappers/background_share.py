"""Gives work without a deadline the time that is left over, within the plan's share."""

from dataclasses import dataclass
from typing import Any, ClassVar

from edge.core.events import Action, Run, Task, Time, WakeAt
from edge.core.interfaces import Policy
from edge.core.state import WINDOW_NS, Lane, State
from edge.plugins import About
from edge.policies.blocks.batching import holder, nearby, together


@dataclass
class BackgroundShare:
    """Runs one background step on an idle lane when `inner` has nothing to do.

    It does so while background work, the step included, took at most `plan.background` of the lane's last second. A
    step is batched up to an expected duration of `step_ms`; a single task is always allowed.

    `inner`: any policy.
    `step_ms`: largest expected duration of a batched step, in milliseconds.
    """

    inner: Policy
    step_ms: float = 10.0

    about: ClassVar[About] = About(
        paper="Shubha and Shen, AdaInf: Data Drift Adaptive Scheduling, SIGCOMM 2023: retraining in the time left over",
        sources={
            "inner": "ours: any policy that orders the work with deadlines",
            "step_ms": "ours: what a frame that arrives meanwhile may wait, a tenth of a camera's shortest deadline",
        },
        deviations=(
            "the paper divides the time between retraining and inference in advance, by predicted gain; here a"
            " planner sets a share, and the lane's last second tells whether it is used up",
        ),
    )

    def __post_init__(self) -> None:
        self.step_ns = round(self.step_ms * 1e6)

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        """Returns the action of `inner`, or a background step if there is none."""
        action = self.inner.decide(state, now)
        return self._step(state, now) if action is None and state.background else action

    def _step(self, state: State, now: Time) -> Action | None:
        wake_ns = state.wake_ns
        for lane in nearby(state):  # remote lanes cost money, which work without a deadline is not worth
            if lane.running is not None or (step := self._best(state, lane)) is None:
                continue
            digest = step.stages[0]
            if allowed(state, lane, state.duration_ns(digest, len(step.tasks), lane)):
                return step
            if lane.recent:  # the share frees up when the oldest work leaves the window
                wake_ns = min(wake_ns, lane.recent[0][0] + WINDOW_NS)
        return WakeAt(wake_ns) if wake_ns < state.wake_ns else None

    def _best(self, state: State, lane: Lane) -> Run | None:
        heads = [(queue[0], digest) for digest, queue in state.background.items() if holder((lane,), digest)]
        if not heads:
            return None
        (_, _, head), digest = min(heads)
        queue, size = state.background[digest], 1
        for batch in state.stages[digest].batches if not head.attempts else ():
            if batch <= len(queue) and state.duration_ns(digest, batch, lane) <= self.step_ns:
                size = max(size, batch)
        return Run(0, lane.name, (digest,), together(queue, size), background=True)


def allowed(state: State, lane: Lane, step_ns: int) -> bool:
    """Returns whether a step of this duration is within the plan's share of the lane's last second.

    A step longer than the whole share is still run once per window; otherwise a small share would mean never.
    """
    share = state.plan.background
    return lane.recent_ns + step_ns <= share * WINDOW_NS or (share > 0 and not lane.recent)
