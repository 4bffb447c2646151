"""First come, first served, in batches, on the lanes of the plan; and what the plan brings into memory."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge.core.events import Evict, Load, Plan, Planned, Served
from edge.policies.blocks.placement_loading import place
from edge.policies.first_come import FirstCome
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine

Build = Callable[..., Any]


def sized(model: str, bytes_: int) -> Served:
    """One at a time, 10 ms each."""
    served = affine(model, 10, 0, 1)
    (stage,) = served.stages
    return replace(served, stages=(replace(stage, blobs={model: bytes_}),))


def digest(served: Served) -> str:
    return served.variant.stages[0]


def test_the_model_that_was_asked_first_though_another_is_due_first(core: Build) -> None:
    box = core(affine("busy", 0, 5), affine("a", 1, 5), affine("b", 1, 5), policy=complete(FirstCome()))
    for at_ms, (app, slo_ms) in enumerate((("busy", 100), ("b", 90), ("a", 20), ("b", 90))):
        box.ask(app, slo_ms=slo_ms, at_ms=at_ms)
    box.finish(at_ms=5)
    assert [task.id for task in box.running().tasks] == [2, 4]


@pytest.mark.parametrize(("slo_ms", "batch"), [(100, 4), (8, 3), (6.5, 1)])
def test_as_many_as_the_head_can_wait_for(core: Build, slo_ms: float, batch: int) -> None:
    box = core(affine("busy", 0, 5), affine("a", 1, 5), policy=complete(FirstCome()))
    box.ask("busy")
    for _ in range(4):
        box.ask("a", slo_ms=slo_ms)
    box.finish()
    assert len(box.running().tasks) == batch


def test_a_model_runs_where_it_was_placed(core: Build) -> None:
    a, b = sized("a", 100), sized("b", 100)
    box = core(a, b, policy=complete(FirstCome()), lanes={"left": 1000, "right": 1000})
    box.do(Planned(Plan(placement={"left": ("a",), "right": ("b",)})))
    for app in ("b", "b", "a"):
        box.ask(app)
    assert [box.running(lane).tasks[0].model for lane in ("left", "right")] == ["a", "b"]
    assert [task.id for queue in box.state.queues.values() for _, _, task in queue] == [2]


# ---- what the plan brings into memory ------------------------------------------------------------------------------


def planned(core: Build, placement: dict[str, tuple[str, ...]], *served: Served, bytes_: int) -> Any:
    """A lane with all of these offered, some of it loaded; then a plan."""
    box = core(*served, lanes={"cpu0": bytes_}, loads_at_once=True)
    box.state.plan = Plan(placement=placement)
    return box


def test_what_is_missing_is_loaded(core: Build) -> None:
    a, b = sized("a", 400), sized("b", 400)
    box = planned(core, {"cpu0": ("a", "b")}, a, b, bytes_=1000)
    assert place(box.state) is None
    box.state.lanes["cpu0"].residency.evict(digest(b))
    assert place(box.state) == Load("cpu0", digest(b))


def test_what_is_not_in_the_plan_makes_room(core: Build) -> None:
    a, b, c = sized("a", 400), sized("b", 400), sized("c", 400)
    box = planned(core, {"cpu0": ("b", "c")}, a, b, c, bytes_=1000)
    assert sorted(box.state.lanes["cpu0"].residency.resident) == sorted([digest(a), digest(b)])
    assert place(box.state) == Evict("cpu0", digest(a))
    box.state.lanes["cpu0"].residency.evict(digest(a))
    assert place(box.state) == Load("cpu0", digest(c))


def test_nobody_who_waits_loses_his_model_to_a_plan(core: Build) -> None:
    a, b, c = sized("a", 400), sized("b", 400), sized("c", 400)
    box = planned(core, {"cpu0": ("b", "c")}, a, b, c, bytes_=1000)
    for _ in range(2):
        box.ask("a")
    assert place(box.state) is None  # one runs, one waits
    box.finish(at_ms=10)
    box.finish(at_ms=20)
    assert place(box.state) == Evict("cpu0", digest(a))


@pytest.mark.parametrize("placement", [{}, {"gone": ("a",)}, {"cpu0": ("unknown",)}, {"cpu0": ("huge",)}])
def test_a_plan_that_the_box_has_outrun_harms_nobody(core: Build, placement: dict[str, tuple[str, ...]]) -> None:
    box = planned(core, placement, sized("a", 400), sized("huge", 4000), bytes_=1000)
    assert place(box.state) is None


def test_a_plan_is_carried_out_between_frames(core: Build) -> None:
    a, b, c = sized("a", 400), sized("b", 400), sized("c", 400)
    box = core(a, b, c, policy=complete(FirstCome()), lanes={"cpu0": 1000})
    box.do(Planned(Plan(placement={"cpu0": ("b", "c")})))
    assert sorted(box.state.lanes["cpu0"].residency.resident) == sorted([digest(b), digest(c)])
    box.ask("c")
    assert box.running() is not None
