"""A request of several tasks that can do without some of them: who is lost, who is waited for, what is answered."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from edge.core.events import Failed, LaneDown, Reply, Request, Run, StepResult, Task
from edge.core.interfaces import Opening, Progress
from edge.core.state import OpenRequest
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import served, stage

SMALL, LARGE, HUGE = (served(name, stage(name, ms)) for name, ms in (("small", 2), ("large", 10), ("huge", 60)))
DEADLINE_MS = 50

Build = Callable[..., Any]


@dataclass(frozen=True)
class AtLeast:
    """`needed` of the models will do."""

    named: tuple[str, ...]
    needed: int = 1

    def models(self) -> tuple[str, ...]:
        return self.named

    def opened(self, request: Request) -> Sequence[Opening]:
        return [Opening(model, item=at) for at, model in enumerate(self.named)]

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(answered=not opened.unfinished)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        came = [task_id for task_id in opened.tasks if task_id in opened.finished]
        return came if len(came) >= self.needed else ()


@pytest.fixture
def panel(core: Build) -> Build:
    def build(*models: Any, needed: int = 1, unserved: Sequence[str] = (), **more: Any) -> Any:
        named = (*(each.variant.model for each in models), *unserved)
        policy = more.pop("policy", None) or complete(EarliestDeadlineFirst(batch_max=1))
        return core(*models, policy=policy, answers={"panel": AtLeast(named, needed)}, **more)

    return build


def failed(box: Any) -> None:
    run = box.running()
    box.do(Failed(run.work_id, "broken", (run.tasks[0].id,)))


def test_all_of_them_are_opened_and_waited_for(panel: Build) -> None:
    box = panel(SMALL, LARGE)
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    box.finish(at_ms=2)
    assert box.outcome(request) is None
    box.finish(at_ms=12)
    assert box.replies[request] == Reply(request, "ok", (1, 2))
    assert box.clean()


def test_one_that_fails_is_done_without(panel: Build) -> None:
    box = panel(SMALL, LARGE)
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    failed(box)
    assert box.outcome(request) is None
    box.finish(at_ms=12)
    assert box.replies[request] == Reply(request, "ok", (2,), "partial")
    assert box.clean()


def test_the_last_that_fails_brings_the_answer_of_the_others(panel: Build) -> None:
    box = panel(SMALL, LARGE)
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    box.finish(at_ms=2)
    failed(box)
    assert box.replies[request] == Reply(request, "ok", (1,), "partial")
    assert box.clean()


def test_where_all_fail_the_request_does(panel: Build) -> None:
    box = panel(SMALL, LARGE)
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    failed(box)
    failed(box)
    assert box.replies[request] == Reply(request, "failed", (), "broken")
    assert box.clean()


def test_too_few_are_no_answer_and_the_rest_is_not_waited_for(panel: Build) -> None:
    box = panel(SMALL, LARGE, HUGE, needed=3)
    request = box.ask("panel", slo_ms=1000)
    failed(box)
    assert box.replies[request] == Reply(request, "failed", (), "broken")
    assert box.clean()


def test_a_member_that_cannot_make_it_leaves_the_others_their_chance(panel: Build) -> None:
    box = panel(SMALL, HUGE)
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    assert [task.model for task in box.running().tasks] == ["small"]
    assert box.outcome(request) is None
    box.finish(at_ms=2)
    assert box.replies[request] == Reply(request, "ok", (1,), "partial")
    assert box.clean()


def test_what_is_too_late_and_alone_is_dropped(panel: Build) -> None:
    box = panel(HUGE, LARGE, needed=2)
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    assert box.outcome(request) == "late"
    assert box.clean()


def test_a_member_that_nobody_serves_is_done_without(panel: Build) -> None:
    box = panel(SMALL, unserved=("ghost",))
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    box.finish(at_ms=2)
    assert box.replies[request].outcome == "ok"


def test_members_that_nobody_serves_refuse(panel: Build) -> None:
    box = panel(unserved=("ghost", "spirit"))
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    assert box.replies[request] == Reply(request, "refused", (), "no variant of model 'spirit' is served")
    assert box.clean()


def test_a_member_that_no_lane_can_hold_any_more_is_done_without(panel: Build) -> None:
    bulky = served("bulky", stage("bulky", 2, 5_000))
    box = panel(SMALL, bulky, lanes={"cpu0": 2_000, "cpu1": 8_000})
    request = box.ask("panel", slo_ms=DEADLINE_MS)
    box.do(LaneDown("cpu1", "unplugged"))
    assert box.outcome(request) is None
    box.finish(at_ms=2)
    assert box.replies[request].outcome == "ok"
    assert box.replies[request].detail == "partial"
    assert box.clean()


def test_a_policy_names_only_tasks_that_wait(panel: Build) -> None:
    class Hasty:
        def __repr__(self) -> str:
            return "Hasty()"

        def order(self, task: Task) -> tuple[int, ...]:
            return (task.id,)

        def decide(self, state: Any, now: int) -> Reply | None:
            return Reply(1, "late", (7,)) if state.requests else None

    box = panel(SMALL, policy=Hasty())
    with pytest.raises(AssertionError, match=r"Hasty.*do not all wait"):
        box.ask("panel")


class Names:
    """Gives up `doomed` at once, one task at a time; else earliest deadline first."""

    def __init__(self, *doomed: str) -> None:
        self.doomed, self.inner = doomed, EarliestDeadlineFirst(batch_max=1)

    def order(self, task: Task) -> tuple[int, ...]:
        return self.inner.order(task)

    def decide(self, state: Any, now: int) -> Any:
        for queue in state.queues.values():
            task = queue[0][2]
            if task.model in self.doomed:
                return Reply(task.request, "late", (task.id,))
        return self.inner.decide(state, now)


@pytest.mark.parametrize(
    ("doomed", "done"), [((), (1, 2, 3)), (("small",), (2, 3)), (("small", "huge"), (2,)), (("huge", "large"), (1,))]
)
def test_who_is_given_up_is_not_run(panel: Build, doomed: tuple[str, ...], done: tuple[int, ...]) -> None:
    box = panel(SMALL, LARGE, HUGE, policy=complete(Names(*doomed)))
    request = box.ask("panel", slo_ms=1000)
    ran: list[str] = []
    while isinstance(run := box.running(), Run):
        ran += [task.model for task in run.tasks]
        box.finish()
    assert Counter(ran) == Counter({"small", "large", "huge"} - set(doomed))
    assert box.replies[request] == Reply(request, "ok", done, "partial" if doomed else "")
    assert box.clean()


def test_all_given_up_is_a_drop(panel: Build) -> None:
    box = panel(SMALL, LARGE, policy=complete(Names("small", "large")))
    request = box.ask("panel", slo_ms=1000)
    assert box.replies[request] == Reply(request, "late")
    assert box.clean()
