"""From one version of a model to the next: by hand, and in boxes where everything happens at any time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.events import Evict, LaneUp, Load, Loaded, LoadFailed, Request, Served
from edge.core.interfaces import Moment
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import Faults, SimulatedWorld
from edge.core.state import Lane, State
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import MS, served, stage
from porting.variant import Variant
from tests.edge.daemon_builder import Daemon, edge, jpeg, repository_of_box, swapped, within

OLD = served("vehicles", stage("one", 5), name="old")
NEW = served("vehicles", stage("two", 5), name="new")
BACKBONE = stage("backbone", 5)
FIRST = served("vehicles", BACKBONE, stage("head", 3, head="h0"), name="first")
SECOND = served("vehicles", BACKBONE, stage("head", 3, head="h1"), name="second")
PERSONS = served("persons", stage("persons", 5))

Build = Callable[..., Any]


@pytest.fixture
def room(core: Build) -> Build:
    """A core with this transition; loads wait until a test says that they are done."""

    def build(transition: str, *events: Served, memory: int = 10**6) -> Any:
        made = core(lanes={"cpu0": memory})
        made.state.transition = transition
        for event in events:
            made.do(event)
        made.loads_at_once = False
        return made

    return build


def serving(box: Any) -> str:
    return str(box.state.models["vehicles"].serving.name)


def orders(actions: list[Any]) -> list[tuple[str, str]]:
    return [(type(it).__name__, it.stage) for it in actions if isinstance(it, Load | Evict)]


def only(served: Served) -> str:
    (digest,) = served.variant.stages
    return digest


# ---- the old one leaves first --------------------------------------------------------------------------------------


def test_the_old_version_leaves_before_the_new_one_is_loaded(room: Build) -> None:
    made = room("resource", OLD)
    assert orders(made.do(NEW)) == [("Evict", only(OLD)), ("Load", only(NEW))]
    assert serving(made) == "new"
    request = made.ask("vehicles")
    assert made.running() is None
    made.do(Loaded("cpu0", only(NEW)))
    made.finish()
    assert made.outcome(request) == "ok"


def test_what_runs_may_end_and_what_waits_goes_over(room: Build) -> None:
    made = room("resource", OLD)
    runs, waits = made.ask("vehicles"), made.ask("vehicles")
    assert orders(made.do(NEW)) == []
    assert orders(made.finish()) == [("Evict", only(OLD)), ("Load", only(NEW))]
    assert made.outcome(runs) == "ok"
    made.do(Loaded("cpu0", only(NEW)))
    assert made.running().tasks[0].chain == NEW.variant.stages
    made.finish()
    assert made.outcome(waits) == "ok"
    assert made.clean()


def test_a_stage_that_both_have_stays_and_half_done_work_is_done_first(room: Build) -> None:
    made = room("resource", FIRST)
    half = made.ask("vehicles")
    made.finish()  # its backbone; its head, which has to leave, runs now
    new = made.ask("vehicles")
    assert orders(made.do(SECOND)) == []
    assert made.running().stages == FIRST.variant.stages[1:]
    assert orders(made.finish()) == [("Evict", FIRST.variant.stages[1]), ("Load", SECOND.variant.stages[1])]
    assert made.outcome(half) == "ok"
    assert made.running().stages == (BACKBONE.digest,), "the backbone is still there, and serves the one that waited"
    made.do(Loaded("cpu0", SECOND.variant.stages[1]))
    made.finish()
    made.finish()
    assert made.outcome(new) == "ok"


def test_work_without_a_deadline_that_is_half_done_is_given_up(room: Build) -> None:
    made = room("resource", FIRST, PERSONS)
    job = made.ask("vehicles", slo_ms=None)
    made.ask("persons")
    made.finish()  # the backbone of the job; its head waits for the person
    made.do(SECOND)
    assert made.outcome(job) == "refused"
    assert made.replies[job].detail == "its version had to leave"


def test_a_new_version_that_is_damaged_brings_the_old_one_back(room: Build) -> None:
    made = room("resource", OLD)
    made.do(NEW)
    waits = made.ask("vehicles")
    assert orders(made.do(LoadFailed("cpu0", only(NEW), "flipped bit"))) == [("Load", only(OLD))]
    model = made.state.models["vehicles"]
    assert (serving(made), model.trouble, model.given_up) == ("old", "new: flipped bit", "new")
    made.do(Loaded("cpu0", only(OLD)))
    made.finish()
    assert made.outcome(waits) == "ok"
    assert made.clean()


def test_back_and_forth_ends_where_it_was_told_to(room: Build) -> None:
    made = room("resource", OLD)
    made.do(NEW)
    made.do(OLD)
    made.do(Loaded("cpu0", only(NEW)))
    made.do(Loaded("cpu0", only(OLD)))
    assert serving(made) == "old"
    assert set(made.state.lanes["cpu0"].residency.resident) == {only(OLD)}
    assert made.state.leaving == set()


# ---- the old one serves until then ---------------------------------------------------------------------------------


def test_the_old_version_serves_until_the_new_one_is_loaded(room: Build) -> None:
    made = room("availability", OLD)
    assert orders(made.do(NEW)) == [("Load", only(NEW))]
    assert serving(made) == "old"
    made.do(Loaded("cpu0", only(NEW)))
    assert serving(made) == "new"


@pytest.mark.parametrize(("transition", "gone"), [("auto", OLD), ("availability", PERSONS)])
def test_somebody_else_has_to_make_room(room: Build, transition: str, gone: Served) -> None:
    """The old version was used least recently, and there is room for two models."""
    made = room(transition, OLD, PERSONS, memory=2000)
    made.ask("vehicles")
    made.finish()
    made.ask("persons")
    made.finish()
    assert orders(made.do(NEW)) == [("Evict", only(gone)), ("Load", only(NEW))]


@pytest.mark.parametrize(("transition", "name"), [("auto", "new"), ("availability", "old"), ("resource", "new")])
def test_where_there_is_room_for_one(room: Build, transition: str, name: str) -> None:
    made = room(transition, OLD, memory=1500)
    made.loads_at_once = True
    made.do(NEW)
    request = made.ask("vehicles")
    made.finish()
    assert (serving(made), made.outcome(request)) == (name, "ok")
    trouble = made.state.models["vehicles"].trouble
    assert trouble == ("new: no room beside old, which serves" if name == "old" else "")


# ---- at any time ---------------------------------------------------------------------------------------------------

VERSIONS = [
    OLD,
    NEW,
    served("vehicles", BACKBONE, stage("head", 3, head="h0"), name="third"),
    served("vehicles", BACKBONE, stage("head", 3, head="h1"), name="fourth"),
]
ALONE = {name: Faults(failed=0.05, stopped=0.05, withdrawn=0.1, served=0.2) for name in ("availability", "resource")}
WEATHER = Faults(failed=0.05, stopped=0.05, slow=0.05, load_failed=0.2, withdrawn=0.1, served=0.2)


def ready(lane: Lane, variant: Variant) -> bool:
    return all(map(lane.residency.holds, variant.stages))


@dataclass
class Witness:
    """Looks at every moment."""

    transition: str
    own: dict[str, set[str]] = field(default_factory=dict)  # version -> blobs that no other version has
    was_ready: bool = False
    switched: int = 0

    def __post_init__(self) -> None:
        blobs = {it.variant.name: {blob for part in it.stages for blob in part.blobs} for it in VERSIONS}
        for name, mine in blobs.items():
            others = set().union(*(theirs for other, theirs in blobs.items() if other != name))
            self.own[name] = mine - others

    def observe(self, moment: Moment) -> tuple[()]:
        self.switched += isinstance(moment.event, Served)
        for lane in moment.state.lanes.values():
            if self.transition == "resource":
                there = {name for name, blobs in self.own.items() if blobs.intersection(lane.residency.blobs)}
                assert len(there) < 2, f"{there} at once"
        if self.transition == "availability":
            lanes = moment.state.lanes.values()
            is_ready = any(ready(lane, it.variant) for lane in lanes for it in VERSIONS)
            assert is_ready or not self.was_ready, "no version is ready"
            self.was_ready = is_ready
        return ()


def played(
    transition: Any, seed: int, faults: Faults, memory: int, lanes: int = 1
) -> tuple[Witness, SimulatedWorld, State]:
    """A camera, work without a deadline among it, and promotions in between, to any of the four versions."""
    asked = [
        Request(number, "vehicles", "camera", number * 17 * MS, None if number % 7 == 0 else number * 17 * MS + 60 * MS)
        for number in range(1, 120)
    ]
    ups = [LaneUp(f"sim{number}", "simulated", memory) for number in range(lanes)]
    world = SimulatedWorld(
        seed, asked, ups, [OLD], faults=faults, promotions=VERSIONS[1:] + VERSIONS[:1], profile=Table()
    )
    state = State(Table(), transition=transition)
    witness = Witness(transition)
    run(Scheduler(state, complete(EarliestDeadlineFirst(), keep=0), {}), world, (witness,))
    return witness, world, state


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2200, 3300, 10**6]))
def test_availability_never_leaves_the_model_without_a_version(seed: int, memory: int) -> None:
    witness, world, _ = played("availability", seed, ALONE["availability"], memory)
    assert witness.was_ready
    assert witness.switched > 1
    assert len(world.replies) == len(world.requests)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1200, 2200, 10**6]), st.integers(1, 2), st.booleans())
def test_resources_are_never_those_of_two_versions(seed: int, memory: int, lanes: int, bad: bool) -> None:
    witness, world, state = played("resource", seed, WEATHER if bad else ALONE["resource"], memory, lanes)
    assert witness.switched > 1
    assert len(world.replies) == len(world.requests)
    assert (state.requests, state.queues, state.background, state.flights) == ({}, {}, {}, {})


# ---- the daemon ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("transition", "held"), [("availability", 2), ("resource", 1)])
def test_the_daemon_does_as_its_file_says(box: Path, transition: str, held: int) -> None:
    repository = repository_of_box(box)
    with Daemon(edge(box, transition=transition)) as daemon:
        assert daemon.answered(jpeg("red"))["objects"][0]["label"] == "red"
        repository.serve("paint", swapped(repository))
        assert within(lambda: daemon.answered(jpeg("red"))["objects"][0]["label"] == "blue")
        (lane,) = daemon.parts.scheduler.state.lanes.values()
        assert len({stage.head for stage in lane.residency.resident.values()} - {None}) == held
