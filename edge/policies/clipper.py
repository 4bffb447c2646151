"""Implements Clipper's adaptive batching: a cap per stage and lane grows until a batch takes longer than it may."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from edge.core.events import NEVER, Action, Run, Task, Time
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.blocks.aimd import Aimd
from edge.policies.blocks.batching import together
from edge.policies.blocks.feasibility import idle, largest, loaded, run, shed, shed_ns, wake
from edge.policies.blocks.quantile_batch import Quantile
from edge.policies.blocks.round_robin_order import Ring

CAPS_MAX = 1_024  # caps kept before those of stages that are gone are removed; promotions bring new stages


@dataclass
class Clipper:
    """Lets queues take turns, each with a batch whose size is learnt from how long earlier batches took.

    Only expired tasks are dropped.

    `batching`: how the cap is found: "aimd" (additive increase, multiplicative decrease) or "quantile" (regression).
    `step`: tasks that a full batch in time adds to the cap ("aimd").
    `backoff`: factor on the cap after a batch that took too long, 0..1 ("aimd").
    `quantile`: quantile of the duration that must be in time, 0..1 ("quantile").
    `wait_ms`: milliseconds that the head of a smaller batch waits for more tasks.
    """

    batching: Literal["aimd", "quantile"] = "aimd"
    step: float = 1.0
    backoff: float = 0.9
    quantile: float = 0.99
    wait_ms: float = 0.0
    caps: dict[tuple[str, str], Aimd | Quantile] = field(default_factory=dict, init=False, repr=False, compare=False)
    learnt: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)  # lane -> last work
    ring: Ring = field(default_factory=Ring, init=False, repr=False, compare=False)

    about: ClassVar[About] = About(
        paper="Crankshaw et al., Clipper, NSDI 2017, sections 4.3 and 4.4",
        sources={
            "batching": "the paper's default",
            "step": "ours: the paper says only that it is fixed",
            "backoff": "the paper: ten percent, since the best size hardly moves",
            "quantile": "the paper: P99",
            "wait_ms": "the paper: off unless a model gains by it; 2 ms in its example",
        },
        deviations=(
            "models take turns on a lane; the paper gives each model containers of its own",
            "a stage of a chain may take the deadline less the durations of its other stages in batches of one",
            "a cap that the stage does not accept as a size is rounded down to one that it does",
            "a queue is ordered by deadline, as in the released code",
            "quantile regression uses the last 64 batches and allows at most twice the largest of them",
        ),
    )

    def __post_init__(self) -> None:
        self.wait_ns = round(self.wait_ms * 1e6)

    def order(self, task: Task) -> tuple[int, ...]:
        deadline_ns = NEVER if task.deadline_ns is None else task.deadline_ns
        return (deadline_ns, -task.priority, task.arrived_ns)

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops expired tasks, else runs the queue whose turn it is on an idle lane, else asks to be woken."""
        self.ring.follow(state)
        self._learn(state)
        if reply := shed(state, now, "expired"):
            return reply
        wake_ns = shed_ns(state, "expired")
        for lane in idle(state):
            queues = dict(loaded(state, lane))
            for digest in self.ring.turns(queues):
                if size := self._size(state, lane, queues[digest], now):
                    return run(state, lane, together(queues[digest], size))
            wake_ns = min([wake_ns, *(queue[0][2].arrived_ns + self.wait_ns for queue in queues.values())])
        return wake(state, wake_ns)

    def _size(self, state: State, lane: Lane, queue: list[Entry], now: Time) -> int:
        """Returns how many tasks of the queue start now; 0 if they wait for more."""
        head = queue[0][2]
        digest = head.chain[head.at]
        full = largest(state, digest, self._cap(state, digest, lane).limit(budget_ns(state, head, lane, 1)))
        waits = len(queue) < full and now - head.arrived_ns < self.wait_ns
        return 0 if waits else largest(state, digest, min(len(queue), full))

    def _cap(self, state: State, digest: str, lane: Lane) -> Aimd | Quantile:
        if len(self.caps) > CAPS_MAX:
            self.caps = {key: cap for key, cap in self.caps.items() if key[0] in state.stages and key[1] in state.lanes}
        cap = self.caps.get((digest, lane.name))
        if cap is None:
            cap = Quantile(self.quantile) if self.batching == "quantile" else Aimd(self.step, self.backoff)
            self.caps[digest, lane.name] = cap
        return cap

    def _learn(self, state: State) -> None:
        """Teaches the cap the work that ended last on each lane, once."""
        for lane in state.lanes.values():
            ended = lane.ended
            if ended is not None and ended.work_id > self.learnt.get(lane.name, 0):
                self.learnt[lane.name] = ended.work_id
                if not ended.background and ended.stages[0] in state.stages:
                    self._learn_from(state, lane, ended)

    def _learn_from(self, state: State, lane: Lane, ended: Run) -> None:
        digest, batch = ended.stages[0], len(ended.tasks)
        cap = self._cap(state, digest, lane)
        allowed_ns = min([budget_ns(state, task, lane, len(ended.stages)) for task in ended.tasks])
        full = batch >= largest(state, digest, cap.limit(allowed_ns))
        cap.learn(batch, full, lane.took_ns, allowed_ns, state.stages[digest].batches[-1])


def budget_ns(state: State, task: Task, lane: Lane, count: int) -> Time:
    """Returns the time that the next `count` stages may take together, in nanoseconds; NEVER without a deadline.

    It is the deadline, or the plan's budget for the model, less the durations of all other stages in batches of one.
    """
    if task.deadline_ns is None:
        return NEVER
    others = (*task.chain[: task.at], *task.chain[task.at + count :])
    given_ns = state.plan.budgets_ns.get(task.model, task.deadline_ns - task.arrived_ns)
    return given_ns - sum([state.duration_ns(digest, 1, lane) for digest in others if digest in state.stages])
