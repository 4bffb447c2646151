"""The tables on the page of theory (`edge/core/__init__.py`) list every change of state that there is, and no other."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any, get_args

import pytest

import edge.core
from edge.core import versions
from edge.core.events import LaneDown, LaneUp, Loaded, Task
from edge.core.loop import run
from edge.core.requests import Requests
from edge.core.scheduler import Scheduler
from edge.core.simulation import Faults, SimulatedWorld
from edge.core.state import Model, State, Transition
from edge.estimators.table import Table
from edge.observers.state_check import StateCheck
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import ALL_FAULTS, ANSWERS, DETECTIONS, cameras, models, promotions, served, stage

Change = tuple[str, str, str]  # from, to, by

SEEDS = range(10)
WHOLE = {"displace", "load_failed"}  # what they call does not count by itself: they make one change of it
MEMORY = (20_000, 6_000, 4_000, 3_000, 1_500)


def table(kind: str) -> set[Change]:
    """The rows of one table: its heading names the kind in the first column."""
    part = edge.core.__doc__.split(f"| {kind} ")[1].split("\n\n")[0]
    rows = re.findall(r"^ +\| (\w[\w ]*?) +\| (\w[\w ]*?) +\| (\w+) +\|", part, re.MULTILINE)
    return {row for row in rows if row[0] != "becomes"}


class Seen:
    """Every change of one kind of thing, with the function that was running. `look` tells what state each is in."""

    def __init__(self) -> None:
        self.changes: set[Change] = set()
        self.known: dict[Any, str] = {}

    def move(self, thing: Any, to: str, by: str, otherwise: str = "new") -> None:
        before = self.known.get(thing, otherwise)
        if before != to or by == "clear_the_way":
            self.changes.add((before, to, by))
        self.known[thing] = to

    def compare(self, states: dict[Any, str], by: str, absent: str) -> None:
        for thing in {**self.known, **states}:
            self.move(thing, states.get(thing, absent), by, absent)


@contextmanager
def watched(owner: Any, names: list[str], after: Callable[[str, tuple], None]) -> Iterator[None]:
    """These functions meanwhile tell `after` their name and arguments, once they have run."""
    kept = {name: getattr(owner, name) for name in names}

    def wrapped(name: str, function: Callable) -> Callable:
        @wraps(function)
        def inner(*given: Any) -> Any:
            result = function(*given)
            if sys._getframe(1).f_code.co_name not in WHOLE:
                after(name, given)
            return result

        return inner

    for name, function in kept.items():
        setattr(owner, name, wrapped(name, function))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(owner, name, function)


def caller() -> str:
    """The function that called the one that is watched."""
    return sys._getframe(3).f_code.co_name


def play(seed: int, transition: Transition, faults: Faults, prepare: Callable[[State], None] = lambda _: None) -> None:
    """The junction with promotions, in more or less memory, every invariant checked after each event."""
    ups = [LaneUp(f"sim{number}", "simulated", MEMORY[seed % 5]) for number in range(1 + seed % 2)]
    pointers = [*promotions(), served("vehicles", stage("large", 2, 30_000), name="too-large")]
    arrivals = cameras(seed, 60, fps=10.0 * (1 + seed % 4))
    world = SimulatedWorld(seed, arrivals, ups, models(), DETECTIONS, faults, pointers, profile=Table())
    state = State(Table(), transition=transition)
    prepare(state)

    run(Scheduler(state, complete(EarliestDeadlineFirst()), ANSWERS), world, [StateCheck()])


def everything(prepare: Callable[[State], None] = lambda _: None) -> None:
    busy = replace(ALL_FAULTS, served=0.6)
    for seed in SEEDS:
        for transition in get_args(Transition):
            play(seed, transition, ALL_FAULTS, prepare)
            play(seed, transition, busy, prepare)


def role(model: Model, name: str) -> str:
    by_role = {"serving": model.serving, "pending": model.pending, "former": model.former}
    held = next((role for role, variant in by_role.items() if variant is not None and variant.name == name), None)
    return held or ("given up" if model.given_up == name else "past")


@pytest.fixture(scope="module")
def seen() -> dict[str, set[Change]]:
    """All changes under promotions and faults, by kind."""
    tasks, lanes, roles = Seen(), Seen(), Seen()
    states: list[State] = []
    ends = {"advance": "finished", "back": "unwanted", "give_up": "lost", "drop": "lost", "reply": "unwanted"}

    def waits(name: str, given: tuple) -> None:
        tasks.move(given[1].id, "waiting", caller())

    def begins(name: str, given: tuple) -> None:
        tasks.move(given[1].id, "running", caller())

    def retires(name: str, given: tuple[State, Task]) -> None:
        if (by := caller()) != "rerouted":
            tasks.move(given[1].id, ends[by], by)

    def look_at_lanes(name: str, given: tuple) -> None:
        found = states[-1].lanes.values()
        lanes.compare({lane.name: "busy" if lane.running else "idle" for lane in found}, name, "absent")

    def look_at_versions(name: str, given: tuple) -> None:
        for number, model in states[-1].models.items():
            named = [each.name for each in (model.pending, model.serving, model.former) if each is not None]
            known = [variant for key, variant in roles.known if key == number]
            for variant in {*named, *known}:
                roles.move((number, variant), role(model, variant), name)

    def fresh(state: State) -> None:
        states.append(state)
        for each in (tasks, lanes, roles):
            each.known.clear()

    with (
        watched(Requests, ["_wait"], waits),
        watched(Requests, ["begin"], begins),
        watched(State, ["retire"], retires),
        watched(Scheduler, ["_begin", "_end"], look_at_lanes),
        watched(versions, ["lane_down", "change"], look_at_lanes),
        watched(versions, ["serve", "switch", "displace", "settle", "abandon", "load_failed"], look_at_versions),
    ):
        everything(fresh)
        a_lane_that_falls_while_it_is_idle(fresh)
        pointers_that_go_back(fresh)
    return {"task": tasks.changes, "lane": lanes.changes, "version": roles.changes}


def a_lane_that_falls_while_it_is_idle(prepare: Callable[[State], None]) -> None:
    state = State(Table())
    prepare(state)
    scheduler = Scheduler(state, complete(EarliestDeadlineFirst()), {})
    scheduler.handle(LaneUp("cpu0", "cpu", 1000), 1)
    scheduler.handle(LaneDown("cpu0", "unplugged"), 2)


def pointers_that_go_back(prepare: Callable[[State], None]) -> None:
    old, new, huge = (served("m", stage(name, 1, size), name=name) for name, size in (("a", 1), ("b", 2), ("c", 9999)))
    state = State(Table(), transition="resource")
    prepare(state)
    scheduler = Scheduler(state, complete(EarliestDeadlineFirst()), {})
    events = [LaneUp("cpu0", "cpu", 1000), old, Loaded("cpu0", old.stages[0].digest), new, old, huge, huge]
    for now, event in enumerate(events):
        scheduler.handle(event, now)


@pytest.mark.parametrize("kind", ["task", "lane", "version"])
def test_every_change_has_a_row_and_every_row_happens(seen: dict[str, set[Change]], kind: str) -> None:
    rows = table(kind)
    assert not (more := sorted(seen[kind] - rows)), f"changes without a row: {more}"
    assert not (less := sorted(rows - seen[kind])), f"rows that never happen: {less}"
    assert len(rows) >= 5
