"""Nexus: turns, targets, the sliding window, budgets, shared prefixes, and lanes by plan."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from edge.core.events import Plan, Planned, Run
from edge.policies.nexus import Nexus
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import ANSWERS, models, served, stage

Build = Callable[..., Any]

A, B, C = (affine(name, 1, 4) for name in "abc")  # a batch of n takes n + 4 ms
LONG = affine("long", 1, 20)


def box_of(core: Build, *events: Any, **options: Any) -> Any:
    lanes = options.pop("lanes", None)
    return core(*events, policy=complete(Nexus(**options)), lanes=lanes)


def apps(run: Run | None) -> list[str]:
    return [task.model for task in run.tasks] if run else []


def test_models_take_turns_however_much_waits_for_one_of_them(core: Build) -> None:
    box = box_of(core, A, B, C)
    box.ask("a", slo_ms=1000)
    for _ in range(30):
        box.ask("a", slo_ms=1000)
    box.ask("b", slo_ms=1000)
    box.ask("c", slo_ms=1000)
    turns = []
    for _ in range(4):
        turns.append(apps(box.running())[0])
        box.finish()
    assert sorted(turns[:3]) == ["a", "b", "c"]
    assert turns[3] == turns[0] == "a"


def test_before_a_plan_the_target_fits_twice_into_the_slo(core: Build) -> None:
    box = box_of(core, A, LONG)
    box.ask("long", slo_ms=1000)
    for _ in range(30):
        box.ask("a", slo_ms=42)  # 2 * (17 + 4) = 42
    box.finish(at_ms=1)
    assert len(box.running().tasks) == 17


def test_the_target_is_the_plan_s(core: Build) -> None:
    box = box_of(core, A, LONG, stretch=False)
    box.do(Planned(Plan(batches={"a": 3})))
    box.ask("long", slo_ms=1000)
    for _ in range(30):
        box.ask("a", slo_ms=1000)
    box.finish(at_ms=1)
    assert len(box.running().tasks) == 3


def test_a_queue_longer_than_planned_stretches_the_batch(core: Build) -> None:
    box = box_of(core, A, LONG)
    box.do(Planned(Plan(batches={"a": 3})))
    box.ask("long", slo_ms=1000)
    for _ in range(30):
        box.ask("a", slo_ms=42)
    box.finish(at_ms=1)
    assert len(box.running().tasks) == 17


def crowd(core: Build, drop: str) -> tuple[Any, list[int]]:
    """At 22 ms ten of a wait, due at 28, 29 ... 37 ms: a batch of five ends at 31, one of all ten at 36."""
    box = box_of(core, A, LONG, drop=drop)
    box.do(Planned(Plan(batches={"a": 10})))
    box.ask("long", slo_ms=1000)
    asked = [box.ask("a", slo_ms=28 + number) for number in range(10)]
    box.finish(at_ms=22)
    return box, asked


def test_the_oldest_go_so_that_the_batch_stays_whole(core: Build) -> None:
    box, asked = crowd(core, "window")
    # Ten end at 36, and each one fewer a millisecond sooner: with the fourth gone, six end at 32, when the next is due.
    assert [box.outcome(request) for request in asked[:4]] == ["late"] * 4
    assert [task.request for task in box.running().tasks] == asked[4:]


def test_the_lazy_way_lets_the_head_decide(core: Build) -> None:
    box, asked = crowd(core, "earliest")
    assert [box.outcome(request) for request in asked] == [None] * 10
    assert [task.request for task in box.running().tasks] == asked[:2]  # 22 + 6 = 28


def test_two_models_with_one_prefix_share_its_batch_and_their_targets_add_up(core: Build) -> None:
    backbone = stage("backbone", 5)
    day = served("day", backbone, stage("head", 4, head="day"))
    night = served("night", backbone, stage("head", 4, head="night"))
    box = box_of(core, day, night, A, stretch=False)
    box.do(Planned(Plan(batches={"day": 2, "night": 2, "a": 1})))
    box.ask("a", slo_ms=1000)
    for _ in range(4):
        box.ask("day", slo_ms=1000)
        box.ask("night", slo_ms=1000)
    box.finish(at_ms=1)
    assert box.running().stages == (backbone.digest,)
    assert apps(box.running()) == ["day", "night", "day", "night"]
    box.finish(at_ms=20)
    assert {len(set(apps(box.running()))), len(box.running().stages)} == {1}  # the heads run apart


def test_of_a_cascade_the_first_model_has_its_part_of_the_deadline(core: Build) -> None:
    """The detector takes 4 ms alone and 5.6 ms for two: due after 30 of 100 ms, it is not begun at 28."""
    box = core(*models(), policy=complete(Nexus()), answers=ANSWERS)
    box.do(Planned(Plan(budgets_ns={"detector": 30_000_000, "vehicles": 70_000_000})))
    for _ in range(3):
        box.ask("junction")
    assert box.running() is not None
    second = box.running().tasks[0].request + 1
    box.finish(at_ms=28)
    assert box.outcome(second) == "late"
    assert box.outcome(second + 1) is None  # the last one that waits is let try


def test_the_oldest_frame_of_a_cascade_without_budgets_has_all_of_the_deadline(core: Build) -> None:
    box = core(*models(), policy=complete(Nexus()), answers=ANSWERS)
    for _ in range(3):
        box.ask("junction")
    box.finish(at_ms=28)
    assert len(box.running().tasks) == 2


@pytest.mark.parametrize(("placement", "lane"), [({"cpu1": ("a",)}, "cpu1"), ({"gone": ("a",)}, "cpu0"), ({}, "cpu0")])
def test_a_lane_runs_what_the_plan_gave_it(core: Build, placement: dict[str, tuple[str, ...]], lane: str) -> None:
    box = box_of(core, A, lanes={"cpu0": 10**6, "cpu1": 10**6})
    box.do(Planned(Plan(placement=placement)))
    box.ask("a")
    assert apps(box.running(lane)) == ["a"]


def test_a_model_whose_lane_lacks_it_runs_elsewhere(core: Build) -> None:
    box = box_of(core, A, lanes={"cpu0": 10**6, "cpu1": 10})
    box.do(Planned(Plan(placement={"cpu1": ("a",)})))
    box.ask("a")
    assert apps(box.running("cpu0")) == ["a"]


def test_a_model_is_loaded_where_the_plan_wants_it(core: Build) -> None:
    box = box_of(core, A, B, lanes={"cpu0": 1000, "cpu1": 1000})
    there = {name: [*lane.residency.resident] for name, lane in box.state.lanes.items()}
    other = next(event for event in (A, B) if [event.variant.stages[0]] != there["cpu1"])
    box.do(Planned(Plan(placement={"cpu1": (other.variant.model,)})))
    assert [*box.state.lanes["cpu1"].residency.resident] == [other.variant.stages[0]]


def test_turns_go_on_behind_background_work(core: Build) -> None:
    box = box_of(core, A, B, affine("teacher", 1, 4))
    box.ask("teacher", slo_ms=None)
    turns = []
    for _ in range(4):
        assert apps(box.running()) == ["teacher"]
        box.ask("a", slo_ms=1000)
        box.ask("b", slo_ms=1000)
        box.finish(at_ms=box.now_ms + 5, done=False, next=0)
        while (work := box.running()) and not work.background:
            turns += apps(work)
            box.finish(at_ms=box.now_ms + 5)
    assert turns.count("a") == turns.count("b") == 4
    assert all(one != other for one, other in pairwise(turns)), turns
