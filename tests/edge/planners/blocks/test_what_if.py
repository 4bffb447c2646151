"""Placements played by hand, and the one that the search finds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from devices.traits import Traits
from edge.core.events import LaneUp, Served
from edge.planners.blocks.placements import search
from edge.planners.blocks.what_if import TaskArrival, simulate
from edge.policies.first_come import FirstCome
from evaluation.scenario import affine
from evaluation.synthetic import MS

Build = Callable[..., Any]


def sized(model: str, ms: float, bytes_: int = 400) -> Served:
    """One at a time."""
    served = affine(model, ms, 0, 1)
    (stage,) = served.stages
    return replace(served, stages=(replace(stage, blobs={model: bytes_}),))


def asked(model: str, *came_ms: float, slo_ms: float = 20) -> list[TaskArrival]:
    return [TaskArrival(model, round(ms * MS), round(slo_ms * MS)) for ms in came_ms]


def together(*each: Sequence[TaskArrival]) -> list[TaskArrival]:
    return sorted((one for some in each for one in some), key=lambda one: one.came_ns)


def test_one_lane_by_hand(core: Build) -> None:
    """Three of 10 ms at once, due in 20: two are in time. Nothing of the box itself is touched."""
    box = core(sized("a", 10), sized("b", 10))
    before = repr(box.state)
    judged = simulate(box.state, asked("a", 0, 0, 0), {"cpu0": ("a",)}, FirstCome())
    assert (judged.good, judged.missed, judged.busy_ns) == (2, {"a": 1}, {"cpu0": 20 * MS})
    assert repr(box.state) == before


def test_what_is_placed_nowhere_is_missed(core: Build) -> None:
    box = core(sized("a", 10), sized("b", 10))
    judged = simulate(box.state, together(asked("a", 0), asked("b", 0, 0)), {"cpu0": ("a",)}, FirstCome())
    assert (judged.good, judged.missed) == (1, {"a": 0, "b": 2})


def test_two_lanes_by_hand(core: Build) -> None:
    box = core(sized("a", 10), lanes={"left": 10**6, "right": 10**6})
    placement = {"left": ("a",), "right": ("a",)}
    judged = simulate(box.state, asked("a", 0, 0, 0, 0, 0), placement, FirstCome())
    assert (judged.good, judged.missed) == (4, {"a": 1})
    assert judged.busy_ns == {"left": 20 * MS, "right": 20 * MS}


def found(box: Any, requests: list[TaskArrival], beam: int) -> tuple[dict[str, tuple[str, ...]] | None, int]:
    """The placement, and how many simulations it took."""
    steps = [*search(box.state, requests, FirstCome(), beam)]
    return next((step for step in steps if step is not None), None), sum(step is None for step in steps)


@pytest.mark.parametrize("beam", [0, 1, 3])
def test_where_each_lane_holds_one_each_gets_one(core: Build, beam: int) -> None:
    box = core(sized("a", 8), sized("b", 8), lanes={"left": 500, "right": 500})
    requests = together(asked("a", *range(0, 200, 10)), asked("b", *range(0, 200, 10)))
    placement, _ = found(box, requests, beam)
    assert placement is not None
    assert sorted(placement.values()) == [("a",), ("b",)]


@pytest.mark.parametrize(("beam", "simulations"), [(0, 3), (2, 4 + 6 + 4)])
def test_it_grows_until_nothing_is_missed(core: Build, beam: int, simulations: int) -> None:
    """a asks for 1.6 lanes, b for 0.2 of one: a on both of them, b on one."""
    box = core(sized("a", 8), sized("b", 1), lanes={"left": 10**6, "right": 10**6})
    requests = together(asked("a", *range(0, 200, 5), slo_ms=30), asked("b", *range(0, 200, 5), slo_ms=30))
    placement, played = found(box, requests, beam)
    assert placement is not None
    assert sorted(placement.values()) in ([("a",), ("a", "b")], [("a", "b"), ("b", "a")])
    assert played <= simulations


def test_what_fits_nowhere_is_placed_nowhere(core: Build) -> None:
    box = core(sized("a", 8), sized("huge", 8, 5000), lanes={"left": 1000})
    placement, _ = found(box, together(asked("a", 0), asked("huge", 0)), 0)
    assert placement == {"left": ("a",)}


def test_a_lane_that_goes_away_ends_the_search(core: Build) -> None:
    box = core(sized("a", 8), sized("b", 8), lanes={"left": 10**6, "right": 10**6})
    steps = search(box.state, asked("a", *range(0, 100, 5)), FirstCome(), 0)
    assert next(steps) is None
    del box.state.lanes["left"]
    assert [step for step in steps if step is not None] in ([], [{"right": ("a",)}])


class Noting(FirstCome):
    """Notes which lanes are far away. A search plays copies of it."""

    far: ClassVar[set[str]] = set()

    def decide(self, state: Any, now: int) -> Any:
        self.far.update(lane.name for lane in state.lanes.values() if lane.traits.remote)
        return super().decide(state, now)


def test_lanes_are_played_as_what_they_are(core: Build) -> None:
    box = core(sized("a", 10))
    box.do(LaneUp("cloud", "lambda", 10**6, Traits(remote=True)))
    simulate(box.state, asked("a", 0), {"cpu0": ("a",)}, Noting())
    assert Noting.far == {"cloud"}
