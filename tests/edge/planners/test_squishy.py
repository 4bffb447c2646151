"""Epochs of Nexus and HERD: when they plan, what they post, and that policies keep to it."""

from collections.abc import Iterable

import pytest

from edge.core.events import Arrived, Event, LaneDown, LaneUp, Plan, Planned, Request
from edge.core.interfaces import Moment, Observer
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.planners.herd import Herd
from edge.planners.squishy import Squishy
from edge.policies.nexus import Nexus
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import Scenario, affine, play
from evaluation.synthetic import MS

SECOND = 1000 * MS
TWO = (LaneUp("sim0", "simulated", 1 << 40), LaneUp("sim1", "simulated", 1 << 40))


class Plans:
    """What was posted, and when."""

    def __init__(self) -> None:
        self.found: list[tuple[float, Plan]] = []

    def observe(self, moment: Moment) -> tuple[()]:
        if isinstance(moment.event, Planned):
            self.found.append((moment.now / SECOND, moment.event.plan))
        return ()


def steady(model: str, rate: float, seconds: float, begins: float = 0.0, slo_ms: float = 200) -> list[Request]:
    times = [round((begins + at / rate) * SECOND) for at in range(round(rate * seconds))]
    return [Request(0, model, "camera", at, at + round(slo_ms * MS)) for at in times]


def plans(requests: Iterable[Request], *observers: Observer, lanes: tuple[LaneUp, ...] = TWO[:1]) -> Plans:
    """Batches of a take 2 ms and 1 ms for each item, those of b 20 ms and 2 ms each."""
    ordered = sorted(requests, key=lambda request: (request.arrived_ns, request.app))
    numbered = tuple(
        Request(number, each.app, each.stream, each.arrived_ns, each.deadline_ns)
        for number, each in enumerate(ordered, 1)
    )
    served, seen = (affine("a", 1, 2), affine("b", 2, 20)), Plans()
    play(Scenario("steady", served, numbered, lanes=lanes), complete(Nexus()), Table(), (*observers, seen))
    return seen


def test_the_first_plan_comes_after_ten_seconds_and_the_next_after_an_epoch() -> None:
    seen = plans(steady("a", 50, 75), Squishy())
    assert [at for at, _ in seen.found] == pytest.approx([10, 40, 70], abs=0.1)
    plan = seen.found[0][1]
    assert plan.batches == {"a": 9}  # 180 ms until there are nine, and 11 for them; ten would take 200 and 12
    assert plan.duty_ns == {"sim0": pytest.approx(180 * MS, rel=0.05)}
    assert plan.placement == {"sim0": ("a",)}
    assert plan.admitted == {}


@pytest.mark.parametrize(("rate", "plans_made"), [(50, 1), (53, 1), (100, 2), (25, 2)])
def test_another_rate_is_another_plan_before_the_epoch_is_over(rate: float, plans_made: int) -> None:
    seen = plans(steady("a", 50, 15) + steady("a", rate, 20, begins=15), Squishy(epoch_s=1000))
    assert len(seen.found) >= plans_made
    assert (len(seen.found) > 1) == (plans_made > 1)
    assert all(later - earlier >= 10 for (earlier, _), (later, _) in zip(seen.found, seen.found[1:], strict=False))


def test_what_is_too_much_is_said_so() -> None:
    plan = plans(steady("a", 900, 12, slo_ms=50) + steady("b", 100, 12), Squishy()).found[-1][1]
    assert set(plan.admitted) == {"a", "b"}
    assert plan.admitted["a"] == plan.admitted["b"] < 1


def test_models_go_to_the_lanes_that_have_time_for_them() -> None:
    plan = plans(steady("a", 600, 12, slo_ms=60) + steady("b", 100, 12, slo_ms=120), Squishy(), lanes=TWO).found[-1][1]
    assert sorted(plan.placement.values()) == [("a",), ("b",)]


@pytest.mark.parametrize("planner", [Squishy(), Herd()], ids=["squishy", "herd"])
def test_a_lane_that_comes_or_goes_is_a_reason_to_plan_at_once(planner: Observer) -> None:
    scheduler = Scheduler(State(Table()), complete(Nexus()), {})
    posted: list[tuple[float, Plan]] = []

    def do(event: Event, at_s: float) -> None:
        now = round(at_s * SECOND)
        actions = scheduler.handle(event, now)
        for said in planner.observe(Moment(now, event, actions, scheduler.state)):
            assert isinstance(said, Planned)
            posted.append((at_s, said.plan))
            do(said, at_s)

    for event in (*TWO, affine("a", 1, 2)):
        do(event, 0)
    for number in range(30):
        now = round(number * 0.5 * SECOND)
        do(Arrived(Request(number, "a", "camera", now, now + SECOND)), number * 0.5)
    assert [at for at, _ in posted] == [10]
    do(LaneDown("sim0", "unplugged"), 15)
    assert posted[-1][0] == 15
    assert "sim0" not in posted[-1][1].placement


def test_herd_separates_short_from_long_on_two_lanes_and_says_nothing_on_one() -> None:
    requests = steady("a", 100, 25) + steady("b", 20, 25)
    assert plans(requests, Herd()).found == []
    seen = plans(requests, Herd(), lanes=TWO)
    assert [at for at, _ in seen.found] == pytest.approx([10], abs=0.1)
    assert sorted(seen.found[0][1].placement.values()) == [("a",), ("b",)]


def test_planners_beside_each_other_are_all_heard() -> None:
    plan = plans(steady("a", 100, 25) + steady("b", 20, 25), Herd(), Squishy(), lanes=TWO).found[-1][1]
    assert plan.batches
    assert plan.placement
