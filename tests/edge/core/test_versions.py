"""Models and memory: when a promotion takes effect, what is loaded and evicted, what cannot be served at all."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import Evict, Evicted, LaneDown, Load, Loaded, LoadFailed, Woke
from edge.core.residency import Residency
from evaluation.synthetic import served, stage

OLD = served("vehicles", stage("backbone", 5), stage("head", 3, head="h0"), name="old")
NEW = served("vehicles", stage("backbone", 5), stage("head", 3, head="h1"), name="new")
OTHER = served("persons", stage("persons", 5))
TEACHER = served("teacher", stage("teacher", 5))

Build = Callable[..., Any]


def serving(box: Any, model: str = "vehicles") -> str:
    return str(box.state.models[model].serving.name)


def orders(actions: list[Any], kind: type) -> list[str]:
    return [action.stage for action in actions if isinstance(action, kind)]


def test_served_stages_are_loaded_ahead_one_after_the_other(core: Build) -> None:
    box = core(OLD, loads_at_once=False)
    first, second = OLD.variant.stages
    assert box.state.lanes["cpu0"].loading == first
    assert orders(box.do(Loaded("cpu0", first)), Load) == [second]
    assert orders(box.do(Loaded("cpu0", second)), Load) == []


def test_a_new_variant_serves_once_it_is_loaded(core: Build) -> None:
    box = core(OLD)
    box.loads_at_once = False
    assert orders(box.do(NEW), Load) == [NEW.variant.stages[1]]  # the backbone is there already
    assert serving(box) == "old"
    before = box.ask("vehicles")
    box.do(Loaded("cpu0", NEW.variant.stages[1]))
    assert serving(box) == "new"
    box.finish()
    box.finish()
    assert box.outcome(before) == "ok"
    chains = [run.tasks[0].chain for run in box.runs.values()]
    assert chains == [OLD.variant.stages] * 2  # it had been opened under the old variant and ends there


def test_old_and_new_variant_share_the_batch_of_their_backbone(core: Build) -> None:
    box = core(OLD)
    box.ask("vehicles")
    box.ask("vehicles")
    box.do(NEW)
    box.ask("vehicles")
    box.finish()  # the backbone of the first; EDF goes on with its head
    box.finish()
    (shared,) = {run.stages for run in box.runs.values() if len(run.tasks) == 2}
    assert shared == OLD.variant.stages[:1]


def test_a_load_that_fails_keeps_the_old_variant_and_is_seen(core: Build) -> None:
    box = core(OLD)
    box.loads_at_once = False
    box.do(NEW)
    box.do(LoadFailed("cpu0", NEW.variant.stages[1], "flipped bit"))
    model = box.state.models["vehicles"]
    assert (serving(box), model.pending) == ("old", None)
    assert (model.trouble, model.given_up) == ("new: flipped bit", "new")
    request = box.ask("vehicles")
    box.finish()
    box.finish()
    assert box.outcome(request) == "ok"


def test_a_load_that_fails_on_one_lane_is_no_reason_to_do_without_it_on_another(core: Build) -> None:
    """A peer that lacks a new graph has no say in what serves here."""
    box = core(OLD, lanes={"cpu0": 10**6, "cloud": 10**6})
    box.loads_at_once = False
    box.do(NEW)
    head = NEW.variant.stages[1]
    box.do(LoadFailed("cloud", head, "no such graph there"))
    assert box.state.models["vehicles"].pending == NEW.variant
    box.do(Loaded("cpu0", head))
    assert serving(box) == "new"


def test_served_again_is_tried_again(core: Build) -> None:
    box = core(OLD)
    box.loads_at_once = False
    box.do(NEW)
    box.do(LoadFailed("cpu0", NEW.variant.stages[1], "flipped bit"))
    box.loads_at_once = True
    box.do(NEW)
    assert serving(box) == "new"
    assert (box.state.models["vehicles"].trouble, box.state.models["vehicles"].given_up) == ("", None)


def test_a_rollback_finds_its_stages_still_there(core: Build) -> None:
    box = core(OLD)
    box.do(NEW)
    assert orders(box.do(OLD), Load) == []
    assert serving(box) == "old"


def test_stages_that_nothing_needs_are_trimmed_and_forgotten(core: Build) -> None:
    box = core(OLD)
    for number in range(20):
        box.do(served("vehicles", stage("backbone", 5), stage("head", 3, head=f"r{number}"), name=str(number)))
    box.do(Woke())
    assert len(box.state.lanes["cpu0"].residency.resident) <= 6
    assert len(box.state.stages) <= 6


def test_a_stage_that_cannot_be_loaded_refuses_its_tasks(core: Build) -> None:
    box = core(OTHER, loads_at_once=False)
    digest = OTHER.variant.stages[0]
    request = box.ask("persons")
    for _ in range(3):
        assert box.state.lanes["cpu0"].loading == digest
        box.do(LoadFailed("cpu0", digest, "no such operator"))
    assert box.outcome(request) == "refused"
    assert box.state.lanes["cpu0"].loading is None
    assert box.outcome(box.ask("persons")) == "refused"
    assert box.clean()


def test_a_stage_larger_than_the_lane_is_refused_not_looped(core: Build) -> None:
    box = core(OTHER, lanes={"cpu0": 999})
    request = box.ask("persons")
    assert box.outcome(request) == "refused"
    assert "1000 bytes, the largest lane has 999" in box.replies[request].detail


def test_two_models_that_do_not_fit_take_turns(core: Build) -> None:
    box = core(OLD, OTHER, lanes={"cpu0": 2000})
    vehicles, persons = box.ask("vehicles"), box.ask("persons")
    while box.running():
        box.finish()
    assert (box.outcome(vehicles), box.outcome(persons)) == ("ok", "ok")
    assert box.state.lanes["cpu0"].residency.used_bytes <= 2000


def test_background_work_does_not_push_out_what_serves(core: Build) -> None:
    box = core(OLD, OTHER, TEACHER, lanes={"cpu0": 2500})
    for app in ("vehicles", "persons"):
        box.ask(app)
    while box.running():
        box.finish()
    label = box.ask("teacher", slo_ms=None)
    assert box.replies[label].outcome == "refused"
    assert "no room" in box.replies[label].detail


def test_foreground_work_pushes_the_teacher_out(core: Build) -> None:
    box = core(TEACHER, OTHER, lanes={"cpu0": 1500})
    assert box.state.lanes["cpu0"].residency.holds(TEACHER.variant.stages[0])
    request = box.ask("persons")
    assert box.running() is not None
    box.finish()
    assert box.outcome(request) == "ok"


def test_old_and_new_that_never_fit_together_are_swapped_cold(core: Build) -> None:
    big = [served("vehicles", stage(name, 5), name=name) for name in ("one", "two")]
    box = core(big[0], lanes={"cpu0": 1500})
    box.do(big[1])
    assert serving(box) == "two"
    request = box.ask("vehicles")
    box.finish()
    assert box.outcome(request) == "ok"


def test_memory_that_a_lane_lost_is_loaded_again(core: Build) -> None:
    box = core(OTHER)
    digest = OTHER.variant.stages[0]
    assert orders(box.do(Evicted("cpu0", digest)), Load) == [digest]


def test_every_lane_gets_what_serves(core: Build) -> None:
    box = core(OTHER, lanes={"cpu0": 5000, "cpu1": 5000})
    first, second = box.ask("persons"), box.ask("persons")
    box.finish(lane="cpu1")
    box.finish(lane="cpu0")
    assert {box.outcome(first), box.outcome(second)} == {"ok"}


def test_a_pending_variant_does_not_push_out_its_own_stages(core: Build) -> None:
    old, persons = served("vehicles", stage("one", 5)), served("persons", stage("persons", 5, 1500))
    new = served("vehicles", stage("a", 5), stage("b", 5), name="new")
    box = core(old, persons, lanes={"cpu0": 3000})
    box.ask("vehicles")
    box.ask("persons")
    box.finish()
    box.do(new)  # the old variant gave way to the first new stage; what runs cannot give way to the second
    held = box.state.lanes["cpu0"].residency.resident
    assert set(held) == {persons.variant.stages[0], new.variant.stages[0]}
    box.finish()
    assert serving(box) == "new"


def test_news_of_a_load_on_a_lost_lane_are_ignored(core: Build) -> None:
    box = core(OTHER, loads_at_once=False)
    box.do(LaneDown("cpu0", "unplugged"))
    box.do(Loaded("cpu0", OTHER.variant.stages[0]))
    assert box.state.ignored == 1


# ---- residency -------------------------------------------------------------------------------------------------------


def test_shared_blobs_count_once() -> None:
    residency = Residency(5000)
    for pointer in (OLD, NEW):
        for piece in pointer.stages:
            if not residency.holds(piece.digest):
                residency.reserve(piece)
                residency.arrive(piece.digest, piece)
    assert residency.used_bytes == 1000 + 1000 + 100 + 100  # backbone, the graph of the heads, two heads
    residency.evict(OLD.variant.stages[1])
    assert residency.used_bytes == 2100
    residency.evict(NEW.variant.stages[1])
    assert residency.used_bytes == 1000


@pytest.mark.parametrize(
    ("limit", "chosen"),
    [(3000, []), (2150, ["first"]), (1900, ["first", "second"]), (1000, ["first", "second"]), (900, [])],
)
def test_victims_are_as_many_as_are_needed_or_none(limit: int, chosen: list[str]) -> None:
    residency = Residency(limit)
    for name, piece in {"first": OLD.stages[1], "second": NEW.stages[1]}.items():
        residency.reserve(piece)
        residency.arrive(name, piece)
    assert residency.victims(stage("wanted", 1), ["first", "second"]) == chosen


def test_an_eviction_frees_its_room_at_once(core: Build) -> None:
    box = core(OTHER, TEACHER, lanes={"cpu0": 1000}, loads_at_once=False)
    box.do(Loaded("cpu0", OTHER.variant.stages[0]))
    box.ask("teacher")
    actions = box.do(Woke())
    assert actions == [] or orders(actions, Evict) == []  # ordered with the arrival already
    assert box.state.lanes["cpu0"].loading == TEACHER.variant.stages[0]
