"""A core that is driven by hand: events in, actions out, loads done at once unless a test wants to see them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import pytest

from edge.core.events import (
    Action,
    Arrived,
    Event,
    Finished,
    LaneUp,
    Load,
    Loaded,
    Reply,
    Request,
    Run,
    Served,
    StepResult,
    Woke,
)  # fmt: skip
from edge.core.interfaces import AnswerRule, Policy
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete

MS = 1_000_000


@dataclass
class Core:
    """Times in ms; the clock stands still between calls."""

    scheduler: Scheduler
    loads_at_once: bool = True
    now_ms: float = 0.0
    replies: dict[int, Reply] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def state(self) -> State:
        return self.scheduler.state

    def do(self, event: Event, at_ms: float | None = None) -> list[Action]:
        self.now_ms = self.now_ms if at_ms is None else at_ms
        actions = self.scheduler.handle(event, round(self.now_ms * MS))
        for action in actions:
            if isinstance(action, Reply):
                assert action.request_id not in self.replies, "answered twice"
                self.replies[action.request_id] = action
            if isinstance(action, Run):
                self.runs[action.work_id] = action
        if self.loads_at_once:
            for action in [*actions]:
                if isinstance(action, Load):
                    actions += self.do(Loaded(action.lane, action.stage))
        return actions

    def ask(self, app: str, slo_ms: float | None = 100.0, at_ms: float | None = None, **more: object) -> int:
        """A request arrives; returns its id."""
        self.now_ms = self.now_ms if at_ms is None else at_ms
        now = round(self.now_ms * MS)
        number = next(self.ids)
        deadline_ns = None if slo_ms is None else now + round(slo_ms * MS)
        self.do(Arrived(Request(number, app, "camera-0", now, deadline_ns, **more)))  # type: ignore[arg-type]
        return number

    def running(self, lane: str = "cpu0") -> Run | None:
        return self.state.lanes[lane].running

    def finish(self, at_ms: float | None = None, lane: str = "cpu0", **result: object) -> list[Action]:
        """What runs on the lane is over; every task of it has this result."""
        run = self.running(lane)
        assert run is not None, "nothing runs"
        end = run.tasks[0].at + len(run.stages) == len(run.tasks[0].chain)
        outcome = StepResult(**{"done": end, **result})  # type: ignore[arg-type]
        return self.do(Finished(run.work_id, {task.id: outcome for task in run.tasks}), at_ms)

    def outcome(self, request_id: int) -> str | None:
        reply = self.replies.get(request_id)
        return reply.outcome if reply else None

    def woken_at_ms(self) -> float:
        return self.state.wake_ns / MS

    def wake(self) -> list[Action]:
        """Time passes until the core wanted to be woken."""
        return self.do(Woke(), self.woken_at_ms())

    def clean(self) -> bool:
        state = self.state
        return not (state.requests or state.queues or state.background or state.works or state.flights)


@pytest.fixture
def core() -> Callable[..., Core]:
    """`core(*served, policy=…, answers=…, lanes={"cpu0": bytes})`: everything loaded that fits."""

    def build(
        *served: Served,
        policy: Policy | None = None,
        answers: Mapping[str, AnswerRule] | None = None,
        lanes: Mapping[str, int] | None = None,
        loads_at_once: bool = True,
    ) -> Core:
        chosen = policy or complete(EarliestDeadlineFirst())
        made = Core(Scheduler(State(Table()), chosen, answers or {}), loads_at_once)
        for name, memory_bytes in (lanes or {"cpu0": 10**6}).items():
            made.do(LaneUp(name, "cpu", memory_bytes))
        for event in served:
            made.do(event)
        return made

    return build
