"""Clockwork: strategies by their latest start, windows that lanes keep, and loads by unmet demand."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from edge.core.events import Evict, LaneUp, Load, Loaded, Request, Run, Served, Stopped, Task
from edge.core.loop import run
from edge.core.residency import Residency
from edge.core.scheduler import Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import Lane, State
from edge.estimators.table import Table
from edge.policies.blocks.demand_loading import demand, load, unmet_demands
from edge.policies.clockwork import Clockwork
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import MS

Build = Callable[..., Any]

A, B = (affine(name, 1, 4) for name in "ab")  # a batch of n takes n + 4 ms
LONG = affine("long", 1, 20)


def box_of(core: Build, *events: Any, **options: Any) -> Any:
    lanes, loads_at_once = options.pop("lanes", None), options.pop("loads_at_once", True)
    return core(*events, policy=complete(Clockwork(**options)), lanes=lanes, loads_at_once=loads_at_once)


def waiting(
    core: Build, asked: Sequence[tuple[str, float]], at_ms: float = 21, **options: Any
) -> tuple[Any, list[int]]:
    """A box whose lane was busy until `at_ms` while these were asked: model, SLO in ms."""
    box = box_of(core, A, B, LONG, **options)
    box.ask("long", slo_ms=1000)
    requests = [box.ask(app, slo_ms=slo_ms) for app, slo_ms in asked]
    box.finish(at_ms=at_ms)
    return box, requests


def ran(box: Any) -> list[int]:
    return [task.request for task in box.running().tasks]


def test_what_has_to_begin_first_goes_first(core: Build) -> None:
    box, requests = waiting(core, [("a", 60), ("b", 50), ("a", 70)])
    assert ran(box) == requests[1:2]


def test_a_batch_has_to_begin_sooner_than_one_request(core: Build) -> None:
    """Two of a have to begin at 60 - 6 = 54 ms, one of b at 59.5 - 5 = 54.5 ms; one of a could until 55."""
    box, requests = waiting(core, [("a", 60), ("a", 60), ("b", 59.5)])
    assert ran(box) == requests[:2]


@pytest.mark.parametrize(("slo_ms", "size"), [(1000, 8), (33, 8), (32.5, 7), (27, 2), (26, 1)])
def test_a_batch_may_grow_as_far_as_its_first_request_can_wait(core: Build, slo_ms: float, size: int) -> None:
    box, requests = waiting(core, [("a", slo_ms)] + [("a", 2000)] * 7, bump="fit")
    assert ran(box) == requests[:size]


@pytest.mark.parametrize(("slo_ms", "late"), [(1000, 0), (33, 0), (31.9, 1), (27, 1)])
def test_as_published_it_grows_to_all_or_the_first_is_given_up(core: Build, slo_ms: float, late: int) -> None:
    box, requests = waiting(core, [("a", slo_ms)] + [("a", 2000)] * 7)
    assert ran(box) == requests[late:]
    assert [box.outcome(request) for request in requests] == ["late"] * late + [None] * (8 - late)


def test_a_batch_made_for_the_second_takes_the_first_along_where_that_is_in_time(core: Build) -> None:
    """All eight end at 33, too late for the first; the seven behind it end at 32, and so do any seven."""
    box, requests = waiting(core, [("a", 32.5)] + [("a", 2000)] * 7)
    assert ran(box) == requests[:7]


def test_as_many_go_as_can_still_wait_for_each_other(core: Build) -> None:
    """At 21 ms: all three would end at 28, when none of them can be; without the first the others end at 27."""
    box, requests = waiting(core, [("a", 26.5), ("a", 27), ("a", 27.5)])
    assert ran(box) == requests[1:]
    assert box.outcome(requests[0]) == "late"


@pytest.mark.parametrize("bump", ["all", "fit"])
def test_the_oldest_are_given_up_for_a_batch_that_has_to_begin_now(core: Build, bump: str) -> None:
    """At 21 ms: alone the head could begin until 21.5, the eight behind it have to by 21.4 if all are to be in time."""
    box, requests = waiting(core, [("a", 26.5)] + [("a", 33.4)] * 8, bump=bump)
    assert box.outcome(requests[0]) == "late"
    assert ran(box) == requests[1:]


def test_what_cannot_start_in_time_is_told_so_while_the_lane_is_busy(core: Build) -> None:
    box = box_of(core, A, LONG)
    box.ask("long", slo_ms=1000)
    request = box.ask("a", slo_ms=12)
    assert box.woken_at_ms() == pytest.approx(7, abs=0.001)
    box.do(Stopped(99), at_ms=7.001)
    assert box.outcome(request) == "late"


def test_an_slo_below_fifteen_milliseconds_is_kept(core: Build) -> None:
    box = box_of(core, A, LONG)
    box.ask("long", slo_ms=1000)
    asked = [box.ask("a", slo_ms=slo_ms) for slo_ms in (9, 11)]
    box.finish(at_ms=3)
    assert ran(box) == asked
    box.finish(at_ms=9)
    assert [box.outcome(request) for request in asked] == ["ok", "ok"]


# ---- windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "window_ms"), [(affine("quick", 1, 4), 2.0), (affine("slow", 1, 49), 5.0)])
def test_the_window_is_two_milliseconds_or_a_tenth(core: Build, model: Served, window_ms: float) -> None:
    box = box_of(core, model)
    box.ask(model.variant.model, slo_ms=1000, at_ms=3)
    assert box.running().latest_ns == (3 + window_ms) * MS


def test_a_late_order_comes_back_and_nothing_is_lost(core: Build) -> None:
    box = box_of(core, A)
    requests = [box.ask("a", slo_ms=100) for _ in range(3)]
    box.do(Stopped(box.running().work_id), at_ms=3)
    assert ran(box) == requests  # now all three together
    assert {task.attempts for task in box.running().tasks} == {0}
    assert box.running().latest_ns == 5 * MS
    box.finish(at_ms=10)
    assert box.clean()
    assert [box.outcome(request) for request in requests] == ["ok"] * 3


class Sluggish(SimulatedWorld):
    """Its lanes hear of each order only after a while, up to `delay_ms`, and give back what they hear of too late."""

    delay_ms = 4.0
    refused = 0

    def _run(self, work: Run) -> None:
        heard_ns = self.now + round(self.random.random() * self.delay_ms * MS)
        if heard_ns > work.latest_ns:
            self.refused += 1
            self._push(heard_ns, Stopped(work.work_id), work.lane)
        else:
            super()._run(replace(work))


def test_lanes_that_are_late_lose_no_request() -> None:
    requests = [Request(n, "ab"[n % 2], "c", n * 3 * MS, (n * 3 + 40) * MS) for n in range(1, 401)]
    world = Sluggish(7, requests, [LaneUp("sim0", "simulated", 1 << 40)], [A, B], profile=Table())
    run(Scheduler(State(Table(margin=1.2)), complete(Clockwork()), {}), world)
    outcomes = Counter(reply.outcome for _, reply in world.replies)
    assert world.refused > 50
    assert sum(outcomes.values()) == 400
    assert len({reply.request_id for _, reply in world.replies}) == 400
    assert outcomes["ok"] > 300


# ---- loads --------------------------------------------------------------------------------------------------------


def loads(actions: Sequence[Any]) -> list[str]:
    return [f"{'+' if isinstance(a, Load) else '-'}{a.stage}" for a in actions if isinstance(a, Load | Evict)]


def digest(served: Served) -> str:
    return served.variant.stages[0]


def small(core: Build, stages: int, *lanes: str) -> Any:
    """Every stage has 1000 bytes; each lane has room for so many of A, B and LONG."""
    names = lanes or ("cpu0",)
    return box_of(core, A, B, LONG, lanes=dict.fromkeys(names, 1000 * stages), loads_at_once=False)


def test_what_most_demand_waits_for_is_loaded_first(core: Build) -> None:
    box = small(core, 1)
    box.do(Loaded("cpu0", box.state.lanes["cpu0"].loading))
    there = next(iter(box.state.lanes["cpu0"].residency.resident))
    first, second = [event for event in (A, B, LONG) if digest(event) != there][:2]
    box.ask(first.variant.model, slo_ms=1000)
    loading = box.state.lanes["cpu0"].loading
    assert loading == digest(first)
    for _ in range(20):
        box.ask(second.variant.model, slo_ms=1000)
    actions = box.do(Loaded("cpu0", digest(first)))
    assert loads(actions) == []  # what has just come is used before its place goes to another
    assert box.running().stages == (digest(first),)
    actions = box.finish(at_ms=10)
    assert loads(actions) == [f"-{digest(first)}", f"+{digest(second)}"]


def test_idle_stages_go_before_ones_that_somebody_waits_for(core: Build) -> None:
    box = small(core, 2)
    for _ in range(2):
        box.do(Loaded("cpu0", box.state.lanes["cpu0"].loading))
    held = [*box.state.lanes["cpu0"].residency.resident]
    used = next(event for event in (A, B, LONG) if digest(event) == held[0])
    absent = next(event for event in (A, B, LONG) if digest(event) not in held)
    for _ in range(2):
        box.ask(used.variant.model, slo_ms=1000)  # one runs, one waits
    box.ask(absent.variant.model, slo_ms=1000)
    assert box.state.lanes["cpu0"].loading == digest(absent)
    assert [*box.state.lanes["cpu0"].residency.resident] == held[:1]


def held(waiting: Mapping[str, int], **lanes: Sequence[Served]) -> State:
    """Lanes with room for one model, and what they hold; so many wait for each model, all with an SLO of 10 ms."""
    state = State(Table())
    for name, events in lanes.items():
        lane = state.lanes[name] = Lane(name, "cpu", Residency(1000))
        for event in events:
            lane.residency.reserve(event.stages[0])
            lane.residency.arrive(digest(event), event.stages[0])
    for first, event in ((1, A), (100, B)):
        count = waiting.get(event.variant.model, 0)
        state.stages[digest(event)] = event.stages[0]
        chain = event.variant.stages
        tasks = [Task(n, n, event.variant.model, chain, 0, 0, 10 * MS) for n in range(first, first + count)]
        if tasks:
            state.queues[digest(event)] = [((task.deadline_ns,), task.id, task) for task in tasks]
    return state


@pytest.mark.parametrize(("demanded", "evicted"), [(6, True), (4, False)])
def test_a_stage_gives_way_to_more_demand_not_to_less(demanded: int, evicted: bool) -> None:
    state = held({"a": 5, "b": demanded}, cpu0=[A])
    assert load(state) == (Evict("cpu0", digest(A)) if evicted else None)


def test_of_two_with_the_same_demand_only_one_takes_the_other_s_place() -> None:
    taken = [load(held({"a": 5, "b": 5}, cpu0=[there])) for there in (A, B)]
    assert sum(action is not None for action in taken) <= 1


def test_demand_is_met_by_the_lanes_that_hold_it_in_proportion() -> None:
    """A takes 5 ms of 10 each: three of them want one and a half lanes, and one of B half a lane."""
    state = held({"a": 3, "b": 1}, cpu0=[A], cpu1=[])
    demands = {name: demand(state, name) for name in state.queues}
    assert demands == {digest(A): 1.5, digest(B): 0.5}
    assert unmet_demands(state, demands) == {digest(A): pytest.approx(0.5), digest(B): 0.5}
    state.lanes["cpu1"].loading = digest(A)
    assert unmet_demands(state, demands)[digest(A)] == pytest.approx(0)


def test_a_model_that_wants_more_than_its_lane_gets_a_copy_where_there_is_room() -> None:
    assert load(held({"a": 3}, cpu0=[A], cpu1=[])) == Load("cpu1", digest(A))
    assert load(held({"a": 2}, cpu0=[A], cpu1=[])) is None


def test_a_copy_pushes_nothing_aside_that_serves() -> None:
    state = held({"a": 3, "b": 0}, cpu0=[A], cpu1=[B])
    assert load(state) == Evict("cpu1", digest(B))
    state.needed[digest(B)] = True
    assert load(state) is None


def test_others_may_decide_on_loads(core: Build) -> None:
    assert Clockwork(loads=False).loads is False
    box = box_of(core, A, B, lanes={"cpu0": 1000}, loads=False)
    request = box.ask("b", slo_ms=1000)
    box.finish(at_ms=9)
    assert box.outcome(request) == "ok"
