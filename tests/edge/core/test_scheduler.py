"""The scheduler, event by event: who is answered what, and what happens to tasks when the weather is bad."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.answers.cascade import Cascade
from edge.core.events import (
    Action,
    Arrived,
    Closing,
    Event,
    Evict,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Load,
    Loaded,
    Plan,
    Planned,
    Reply,
    Request,
    Run,
    StepResult,
    Stop,
    Stopped,
    Task,
    WakeAt,
    Withdrawn,
    Woke,
)  # fmt: skip
from edge.core.interfaces import Moment, Opening, Progress
from edge.core.loop import run
from edge.core.scheduler import GRACE_NS, STOPPING_NS, Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import OpenRequest, State
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import served, stage

VEHICLES = served("vehicles", stage("vehicles", 5))
CHAIN = served("vehicles", stage("backbone", 5), stage("head", 3, head="h0"))
JUNCTION = Cascade("detector", {"vehicle": "vehicles", "person": "persons"}, items_max=3)
MODELS = (served("detector", stage("detector", 4)), VEHICLES, served("persons", stage("persons", 5)))

Build = Callable[..., Any]
MS = 1_000_000


def test_a_request_is_run_and_answered(core: Build) -> None:
    box = core(VEHICLES)
    request = box.ask("vehicles")
    assert box.running().stages == VEHICLES.variant.stages
    box.finish(at_ms=5)
    assert box.replies[request] == Reply(request, "ok", (1,))
    assert box.clean()


def test_stages_of_a_chain_are_walked_one_by_one(core: Build) -> None:
    box = core(CHAIN)
    request = box.ask("vehicles")
    assert box.running().stages == CHAIN.variant.stages[:1]
    box.finish(at_ms=5)
    assert box.running().stages == CHAIN.variant.stages[1:]
    box.finish(at_ms=8)
    assert box.outcome(request) == "ok"


def test_a_result_may_end_the_chain_early(core: Build) -> None:
    box = core(CHAIN)
    request = box.ask("vehicles")
    box.finish(done=True)
    assert box.outcome(request) == "ok"
    assert box.clean()


@pytest.mark.parametrize("app", ["nobody", "persons"])
def test_what_nobody_serves_is_refused(core: Build, app: str) -> None:
    box = core(VEHICLES, answers={"persons": Cascade("persons")})
    request = box.ask(app)
    assert box.outcome(request) == "refused"
    assert app in box.replies[request].detail
    assert box.clean()


def test_a_cascade_is_answered_when_its_last_task_is(core: Build) -> None:
    box = core(*MODELS, answers={"junction": JUNCTION})
    request = box.ask("junction")
    box.finish(children={"vehicle": 2, "person": 5, "dog": 1})
    vehicles = box.running()
    assert [(task.parent, task.item) for task in vehicles.tasks] == [(1, 0), (1, 1)]
    box.finish()
    assert request not in box.replies
    assert [task.item for task in box.running().tasks] == [
        2,
        3,
    ]  # numbered on over all kinds; batches: 1, 2, 4
    box.finish()
    assert [task.item for task in box.running().tasks] == [4]  # of five persons, three
    box.finish()
    assert box.replies[request] == Reply(request, "ok", (1, 2, 3, 4, 5, 6))
    assert box.clean()


def test_children_have_the_deadline_of_the_frame(core: Build) -> None:
    box = core(*MODELS, answers={"junction": JUNCTION})
    box.ask("junction", slo_ms=50, at_ms=7)
    box.finish(at_ms=20, children={"vehicle": 1})
    (child,) = box.running().tasks
    assert (child.arrived_ns, child.deadline_ns) == (7_000_000, 57_000_000)


def test_a_child_that_fails_for_good_fails_the_frame_once(core: Build) -> None:
    box = core(*MODELS, answers={"junction": JUNCTION})
    request = box.ask("junction")
    box.finish(children={"vehicle": 2, "person": 2})
    _, second = box.running().tasks
    box.do(Failed(box.running().work_id, "bad crop", (second.id,)))
    assert box.replies[request] == Reply(request, "failed", (), "bad crop")
    assert box.clean()


def test_a_child_model_that_nobody_serves_refuses_the_frame(core: Build) -> None:
    box = core(MODELS[0], answers={"junction": JUNCTION})
    request = box.ask("junction")
    box.finish(children={"vehicle": 1})
    assert box.outcome(request) == "refused"
    assert box.clean()


def test_withdrawn_while_it_waits(core: Build) -> None:
    box = core(VEHICLES)
    running, waiting = box.ask("vehicles"), box.ask("vehicles")
    for request in (running, waiting, 99):
        box.do(Withdrawn(request))
    assert box.outcome(waiting) == "superseded"
    assert box.outcome(running) is None
    box.finish()
    box.do(Withdrawn(running))
    assert box.outcome(running) == "ok"
    assert box.clean()


def test_tasks_of_a_failed_work_are_tried_once_more_each_alone(core: Build) -> None:
    box = core(VEHICLES)
    box.ask("vehicles")
    good, bad = box.ask("vehicles"), box.ask("vehicles")
    box.finish()
    assert len(box.running().tasks) == 2
    box.do(Failed(box.running().work_id, "NaN"))
    assert len(box.running().tasks) == 1
    box.finish()
    assert box.outcome(good) == "ok"
    assert len(box.running().tasks) == 1
    box.do(Failed(box.running().work_id, "NaN"))
    assert box.replies[bad] == Reply(bad, "failed", (), "NaN")
    assert box.clean()


def test_only_the_task_at_fault_fails(core: Build) -> None:
    box = core(VEHICLES)
    box.ask("vehicles")
    good, bad = box.ask("vehicles"), box.ask("vehicles")
    box.finish()
    box.do(Failed(box.running().work_id, "not a JPEG", (box.running().tasks[1].id,)))
    assert box.outcome(bad) == "failed"
    box.finish()
    assert box.outcome(good) == "ok"


def test_a_stopped_work_goes_back_without_blame(core: Build) -> None:
    box = core(VEHICLES)
    request = box.ask("vehicles")
    for _ in range(5):
        box.do(Stopped(box.running().work_id))
    box.finish()
    assert box.outcome(request) == "ok"


def test_what_a_lost_lane_ran_is_run_again_when_it_is_back(core: Build) -> None:
    box = core(VEHICLES)
    request = box.ask("vehicles")
    lost = box.running()
    box.do(LaneDown("cpu0", "unplugged"))
    box.do(Finished(lost.work_id, {1: StepResult()}))
    assert box.state.ignored == 1
    assert request not in box.replies
    box.do(LaneUp("cpu0", "cpu", 10**6), at_ms=10)
    assert box.running().work_id != lost.work_id
    box.finish()
    assert box.outcome(request) == "ok"


def test_without_a_lane_the_time_of_a_request_still_runs_out(core: Build) -> None:
    box = core(VEHICLES)
    request = box.ask("vehicles", slo_ms=100)
    box.do(LaneDown("cpu0", "unplugged"))
    assert box.woken_at_ms() == pytest.approx(100, abs=0.01)
    box.do(Woke(), at_ms=100.1)
    assert box.outcome(request) == "late"
    assert box.clean()


def test_a_late_request_whose_sibling_runs_is_answered_once(core: Build) -> None:
    box = core(*MODELS, answers={"junction": JUNCTION})
    request = box.ask("junction", slo_ms=20)
    box.finish(at_ms=10, children={"vehicle": 1, "person": 1})
    box.do(Woke(), at_ms=15.1)  # the person's 5 ms can no longer be over at 20
    assert box.outcome(request) == "late"
    box.finish(at_ms=16)
    assert box.clean()


def test_closing_answers_what_waits_and_lets_run_what_runs(core: Build) -> None:
    box = core(VEHICLES)
    running, waiting = box.ask("vehicles"), box.ask("vehicles")
    box.do(Closing())
    assert box.outcome(waiting) == "stopped"
    assert box.outcome(running) is None
    late = box.ask("vehicles")
    assert box.outcome(late) == "stopped"
    box.finish()
    assert box.outcome(running) == "ok"
    assert box.running() is None
    assert box.clean()


@pytest.mark.parametrize("end", ["finish", "children", "failed", "stopped", "lane"])
def test_after_closing_nothing_new_begins(core: Build, end: str) -> None:
    box = core(CHAIN, MODELS[0], answers={"junction": JUNCTION})
    request = box.ask("junction" if end == "children" else "vehicles")
    box.do(Closing())
    work = box.running().work_id
    match end:
        case "finish":
            box.finish()
        case "children":
            box.finish(children={"vehicle": 1})
        case "failed":
            box.do(Failed(work, "NaN"))
        case "stopped":
            box.do(Stopped(work))
        case "lane":
            box.do(LaneDown("cpu0", "unplugged"))
    assert box.outcome(request) == "stopped"
    assert box.clean()


def test_a_step_waits_again_until_it_is_done(core: Build) -> None:
    box = core(VEHICLES)
    job = box.ask("vehicles", slo_ms=None)
    for _ in range(3):
        box.finish(done=False, next=0)
    box.finish()
    assert box.outcome(job) == "ok"
    assert len(box.runs) == 4


def test_background_work_is_accounted_for_a_second(core: Build) -> None:
    box = core(VEHICLES)
    box.ask("vehicles")
    box.finish(at_ms=6)
    box.ask("vehicles", slo_ms=None)
    box.finish(at_ms=10)
    lane = box.state.lanes["cpu0"]
    assert lane.recent_ns == 4_000_000
    box.do(Woke(), at_ms=2000)
    assert lane.recent_ns == 0


# ---- the end comes, whatever a lane does ----------------------------------------------------------------------------


def stops(actions: list[Action]) -> list[int]:
    return [action.work_id for action in actions if isinstance(action, Stop)]


def test_what_runs_at_closing_is_stopped_after_a_grace_and_then_given_up(core: Build) -> None:
    box = core(VEHICLES)
    request = box.ask("vehicles")
    work = box.running().work_id
    assert stops(box.do(Closing())) == []
    assert box.woken_at_ms() == GRACE_NS / MS
    assert stops(box.do(Woke(), at_ms=GRACE_NS / MS - 1)) == []
    assert stops(box.do(Woke(), at_ms=GRACE_NS / MS)) == [work]
    assert stops(box.do(Woke(), at_ms=GRACE_NS / MS + 200)) == [work], "it may have been between two stages"
    assert box.woken_at_ms() == (GRACE_NS + STOPPING_NS) / MS
    assert box.outcome(request) is None
    box.do(Woke(), at_ms=(GRACE_NS + STOPPING_NS) / MS)
    assert box.replies[request] == Reply(request, "stopped", (), "its lane did not stop")
    box.do(Stopped(work))
    assert box.clean()


def test_what_heeds_the_stop_is_answered_at_once(core: Build) -> None:
    box = core(VEHICLES)
    request = box.ask("vehicles")
    box.do(Closing())
    (work,) = stops(box.do(Woke(), at_ms=GRACE_NS / MS))
    box.do(Stopped(work))
    assert box.outcome(request) == "stopped"
    assert box.clean()


def test_background_work_is_stopped_when_closing_begins(core: Build) -> None:
    box = core(VEHICLES)
    job = box.ask("vehicles", slo_ms=None)
    (work,) = stops(box.do(Closing()))
    assert work == box.running().work_id
    assert stops(box.do(Closing())) == [], "closing begins once"
    box.do(Stopped(work))
    assert box.outcome(job) == "stopped"
    assert box.clean()


def test_nothing_is_woken_for_where_nothing_runs(core: Build) -> None:
    box = core(VEHICLES)
    assert box.do(Closing()) == []


def test_a_simulated_run_that_would_never_end_is_stopped() -> None:
    endless = served("endless", stage("endless", 10**9))
    cameras = [Request(1, "endless", "camera", 100 * MS, 10**18)]
    world = SimulatedWorld(1, cameras, [LaneUp("cpu0", "cpu", 10**6)], [endless], profile=Table())
    scheduler = Scheduler(State(Table()), complete(EarliestDeadlineFirst()), {})
    moments: list[Moment] = []

    class Closes:
        def observe(self, moment: Moment) -> list[Event]:
            moments.append(moment)
            return [Closing()] if any(isinstance(action, Run) for action in moment.actions) else []

    run(scheduler, world, [Closes()])
    assert [reply.outcome for _, reply in world.replies] == ["stopped"]
    closed = next(moment.now for moment in moments if moment.event == Closing())
    assert world.replies[0][0] == closed + GRACE_NS


# ---- bugs are asserted, with the name of the policy -----------------------------------------------------------------


def test_time_does_not_go_backwards(core: Build) -> None:
    box = core(VEHICLES)
    box.do(Woke(), at_ms=5)
    with pytest.raises(AssertionError, match="time went backwards"):
        box.do(Woke(), at_ms=4)


def test_a_request_id_is_used_once(core: Build) -> None:
    box = core(VEHICLES)
    request = Request(7, "vehicles", "camera-0", 0, 10**9)
    box.do(Arrived(request))
    with pytest.raises(AssertionError, match="arrived twice"):
        box.do(Arrived(request))


class Rogue:
    """Proposes whatever it is told to, once the box is otherwise set up."""

    def __init__(self) -> None:
        self.inner = EarliestDeadlineFirst()
        self.proposal: Callable[[State], Action] | None = None

    def __repr__(self) -> str:
        return "Rogue()"

    def order(self, task: Task) -> tuple[int, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: int) -> Action | None:
        wanted = state.wanted[0] if state.wanted else None
        if self.proposal is None:
            return Load(*wanted) if wanted and state.lanes[wanted[0]].loading is None else None
        return self.proposal(state)


FIRST = CHAIN.variant.stages[0]
LAST = CHAIN.variant.stages[1]
STRANGER = Task(99, 1, "vehicles", CHAIN.variant.stages, 0, 0, 10**8)


def head(state: State) -> Task:
    return state.queues[FIRST][0][2]


PROPOSALS: dict[str, tuple[Callable[[State], Action], str]] = {
    "no such lane": (lambda s: Run(0, "gpu7", (FIRST,), (head(s),)), "no lane gpu7"),
    "no task": (lambda s: Run(0, "cpu0", (FIRST,), ()), "no task"),
    "no stage": (lambda s: Run(0, "cpu0", (), (head(s),)), "no stage"),
    "wrong stage": (lambda s: Run(0, "cpu0", (LAST,), (head(s),)), "not what follows"),
    "not consecutive": (lambda s: Run(0, "cpu0", (FIRST, FIRST), (head(s),)), "not what follows"),
    "not resident": (lambda s: Run(0, "cpu0", ("ab" * 32,), (head(s),)), "is not on cpu0"),
    "not waiting": (lambda s: Run(0, "cpu0", (FIRST,), (STRANGER,)), "does not wait"),
    "twice": (lambda s: Run(0, "cpu0", (FIRST,), (head(s), head(s))), "twice"),
    "batch size": (lambda s: Run(0, "cpu0", (FIRST,), (head(s),) * 3), "no batch of 3"),
    "not background": (lambda s: Run(0, "cpu0", (FIRST,), (head(s),), background=True), "background"),
    "answered ok": (lambda s: Reply(1, "ok"), "cannot answer ok"),
    "not open": (lambda s: Reply(99, "late"), "not open"),
    "in the past": (lambda s: WakeAt(s.now), "of no use"),
    "loaded already": (lambda s: Load("cpu0", FIRST), "already"),
    "unknown stage": (lambda s: Load("cpu0", "ab" * 32), "there is no stage"),
    "not there": (lambda s: Evict("cpu0", "ab" * 32), "is not on"),
    "over": (lambda s: Stop(99), "is over"),
}


@pytest.mark.parametrize(("proposal", "message"), PROPOSALS.values(), ids=PROPOSALS)
def test_what_a_policy_must_not_propose(core: Build, proposal: Callable[[State], Action], message: str) -> None:
    rogue = Rogue()
    box = core(CHAIN, policy=rogue)
    box.ask("vehicles")
    rogue.proposal = proposal
    with pytest.raises(AssertionError, match=message) as caught:
        box.do(Woke())
    assert "Rogue()" in str(caught.value)


def test_a_policy_that_never_settles_is_a_bug() -> None:
    rogue = Rogue()
    rogue.proposal = lambda state: WakeAt(state.wake_ns - 1)
    scheduler = Scheduler(State(Table()), rogue, {})
    with pytest.raises(AssertionError, match=r"Rogue.* never settles"):
        scheduler.handle(Planned(Plan()), 0)


class Soft:
    """A cascade that can do without its second model."""

    def models(self) -> tuple[str, ...]:
        return ("detector", "absent")

    def opened(self, request: Request) -> tuple[Opening, ...]:
        return (Opening("detector"),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(openings=(Opening("absent", task.id),))

    def partial(self, opened: OpenRequest) -> list[int]:
        return [task for task in opened.tasks if task in opened.finished]


def test_a_request_whose_next_tasks_cannot_be_opened_is_answered_with_what_has_come() -> None:
    scheduler = Scheduler(State(Table()), complete(EarliestDeadlineFirst()), {"soft": Soft()})
    actions: list[Action] = []
    waiting: list[Event] = [
        LaneUp("cpu0", "cpu", 1 << 30),
        affine("detector", 1, 1),
        Arrived(Request(1, "soft", "c", 0, 10**9)),
    ]
    while waiting:
        done = scheduler.handle(waiting.pop(0), 0)
        waiting += [Loaded(action.lane, action.stage) for action in done if isinstance(action, Load)]
        waiting += [Finished(run.work_id, {run.tasks[0].id: StepResult()}) for run in done if isinstance(run, Run)]
        actions += done
    (reply,) = [action for action in actions if isinstance(action, Reply)]
    assert (reply.outcome, reply.detail, len(reply.tasks)) == ("ok", "partial", 1)
    assert scheduler.state.requests == {}
