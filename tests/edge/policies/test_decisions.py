"""What the policies decide: order, batches, shedding, waking, boundaries, and the share of background work."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import NEVER, LaneDown, LaneUp, Plan, Planned, Run, Woke
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import MS, served, stage
from porting.variant import Stage

VEHICLES = served("vehicles", stage("vehicles", 5))
PERSONS = served("persons", stage("persons", 5))
TWINS = served("twins", *VEHICLES.stages)  # another model on the very same stage
CHAIN = served("chain", stage("backbone", 5), stage("head", 0.5, head="h0"))
TEACHER = served("teacher", stage("teacher", 6))
SLOW_TEACHER = served("teacher", stage("teacher", 30))
TRAINING = served("train", Stage("step", "train", durations_ns={1: 8 * MS}))

Build = Callable[..., Any]


def apps(run: Run) -> list[str]:
    return [task.model for task in run.tasks]


def test_edf_runs_what_is_due_first(core: Build) -> None:
    box = core(VEHICLES, PERSONS)
    box.ask("vehicles")
    box.ask("vehicles", slo_ms=90)
    box.ask("persons", slo_ms=50)
    box.finish()
    assert apps(box.running()) == ["persons"]


def test_fifo_runs_what_came_first(core: Build) -> None:
    box = core(VEHICLES, PERSONS, policy=complete(Fifo()))
    box.ask("vehicles")
    box.ask("vehicles", slo_ms=90, at_ms=1)
    box.ask("persons", slo_ms=50, at_ms=2)
    box.finish(at_ms=5)
    assert apps(box.running()) == ["vehicles"]


def test_among_equals_the_larger_priority_goes_first(core: Build) -> None:
    box = core(VEHICLES, PERSONS)
    box.ask("vehicles")
    box.ask("vehicles")
    box.ask("persons", priority=1)
    box.finish()
    assert apps(box.running()) == ["persons"]


def test_equal_stages_share_a_batch_whichever_model_asks(core: Build) -> None:
    box = core(VEHICLES, TWINS)
    box.ask("vehicles")
    box.ask("vehicles")
    box.ask("twins")
    box.finish()
    assert apps(box.running()) == ["vehicles", "twins"]


# Batches of 1, 2, 4, 8 take 5, 7, 11, 19 ms; the lane is free at 5 ms.
@pytest.mark.parametrize(("slo_ms", "size"), [(100, 8), (24, 8), (23, 4), (16, 4), (15, 2), (12, 2), (11, 1)])
def test_the_batch_is_the_largest_that_keeps_the_deadline_of_its_head(core: Build, slo_ms: float, size: int) -> None:
    box = core(VEHICLES)
    box.ask("vehicles", slo_ms=1000)
    for _ in range(9):
        box.ask("vehicles", slo_ms=slo_ms)
    box.finish(at_ms=5)
    assert len(box.running().tasks) == size


def test_a_batch_leaves_time_for_the_head_of_another_queue(core: Build) -> None:
    box = core(VEHICLES, PERSONS)
    box.ask("vehicles")
    for _ in range(8):
        box.ask("vehicles", slo_ms=37)
    box.ask("persons", slo_ms=38)
    box.finish(at_ms=15)
    batch = box.running()
    assert apps(batch)[0] == "vehicles"
    assert len(batch.tasks) == 4  # eight would end at 34, and the person has to start by 33


def test_batch_max_bounds_the_batch(core: Build) -> None:
    box = core(VEHICLES, policy=complete(EarliestDeadlineFirst(batch_max=3)))
    for _ in range(9):
        box.ask("vehicles", slo_ms=1000)
    box.finish()
    assert len(box.running().tasks) == 2


def test_what_cannot_make_it_is_answered_at_once(core: Build) -> None:
    box = core(VEHICLES)
    box.ask("vehicles")
    hopeless = box.ask("vehicles", slo_ms=4)
    assert box.outcome(hopeless) == "late"


def test_late_is_answered_though_no_lane_is_free(core: Build) -> None:
    box = core(VEHICLES)
    box.ask("vehicles")
    waiting = box.ask("vehicles", slo_ms=50)
    assert box.woken_at_ms() == pytest.approx(45, abs=0.001)
    box.do(Woke(), at_ms=45)
    assert box.outcome(waiting) is None
    box.do(Woke(), at_ms=45.001)
    assert box.outcome(waiting) == "late"


def test_no_wake_is_asked_for_without_need(core: Build) -> None:
    box = core(VEHICLES)
    assert box.state.wake_ns == NEVER
    box.ask("vehicles")
    assert box.state.wake_ns == NEVER


def test_an_estimate_that_is_too_high_is_corrected_not_obeyed_for_ever(core: Build) -> None:
    box = core(served("vehicles", stage("vehicles", 500)))
    request = box.ask("vehicles", slo_ms=100)
    assert box.running() is not None
    box.finish(at_ms=20)
    assert box.outcome(request) == "ok"


@pytest.mark.parametrize(("boundary_ms", "stages"), [(2.0, 2), (0.4, 1), (0.0, 1)])
def test_a_short_stage_is_run_along(core: Build, boundary_ms: float, stages: int) -> None:
    box = core(CHAIN, policy=complete(EarliestDeadlineFirst(boundary_ms=boundary_ms)))
    request = box.ask("chain")
    assert len(box.running().stages) == stages
    while box.running():
        box.finish()
    assert box.outcome(request) == "ok"


def test_stages_that_a_batch_does_not_share_are_not_run_along(core: Build) -> None:
    other = served("other", stage("backbone", 5), stage("head", 0.5, head="h1"))
    box = core(CHAIN, other)
    for app in ("chain", "chain", "other"):
        box.ask(app)
    box.finish()
    assert apps(box.running()) == ["chain", "other"]
    assert box.running().stages == CHAIN.variant.stages[:1]


def test_two_lanes_run_two_works(core: Build) -> None:
    box = core(VEHICLES, lanes={"cpu0": 5000, "cpu1": 5000})
    box.ask("vehicles")
    box.ask("vehicles")
    assert box.running("cpu0").tasks != box.running("cpu1").tasks


# ---- background ---------------------------------------------------------------------------------------------------


def test_background_runs_where_nothing_else_wants_the_lane(core: Build) -> None:
    box = core(VEHICLES, TEACHER)
    box.ask("vehicles")
    box.ask("teacher", slo_ms=None)
    frame = box.ask("vehicles")
    box.finish()
    assert box.running().tasks[0].request == frame
    box.finish()
    assert box.running().background


# 6 ms alone and 2.4 ms for each further task: two fit into a step of 10 ms.
@pytest.mark.parametrize(("teacher", "size"), [(TEACHER, 2), (SLOW_TEACHER, 1)])
def test_a_background_step_is_short_but_at_least_one_task(core: Build, teacher: Any, size: int) -> None:
    box = core(VEHICLES, teacher)
    box.ask("vehicles")
    for _ in range(9):
        box.ask("teacher", slo_ms=None)
    box.finish()
    assert len(box.running().tasks) == size


def test_labels_go_before_training_by_priority(core: Build) -> None:
    box = core(VEHICLES, TEACHER, TRAINING)
    box.ask("vehicles")
    box.ask("train", slo_ms=None)
    box.ask("teacher", slo_ms=None, priority=1)
    box.finish()
    assert apps(box.running()) == ["teacher"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 1.0])
def test_background_keeps_to_its_share_of_every_second(core: Build, share: float) -> None:
    box = core(VEHICLES, TRAINING)
    box.do(Planned(Plan(background=share)))
    box.ask("train", slo_ms=None)
    ends_ms: list[float] = []
    while box.now_ms < 3000:
        if box.running():
            ends_ms.append(box.now_ms + 8)
            box.finish(at_ms=box.now_ms + 8, done=False, next=0)
        elif box.state.wake_ns < NEVER:
            box.do(Woke(), at_ms=box.woken_at_ms())
        else:
            break
    for end in ends_ms:
        in_window = [at for at in ends_ms if end - 1000 < at <= end]
        assert len(in_window) * 8 <= share * 1000
    assert len(ends_ms) * 8 >= share * 3000 * 0.9


def test_a_step_longer_than_the_share_is_run_once_in_a_window(core: Build) -> None:
    box = core(VEHICLES, SLOW_TEACHER)
    box.do(Planned(Plan(background=0.01)))
    for _ in range(3):
        box.ask("teacher", slo_ms=None)
    box.finish(at_ms=30)
    assert box.running() is None
    assert box.woken_at_ms() == pytest.approx(1030)
    box.do(Woke(), at_ms=1030)
    assert box.running().background


def test_background_waits_for_its_lane(core: Build) -> None:
    box = core(VEHICLES, TRAINING)
    box.do(LaneDown("cpu0", "unplugged"))
    job = box.ask("train", slo_ms=None)
    box.do(LaneUp("cpu0", "cpu", 10**6))
    box.finish()
    assert box.outcome(job) == "ok"
