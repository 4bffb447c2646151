"""The planner at work: it posts a placement that the box carries out, and plans anew when the box is another."""

from dataclasses import replace

import pytest

from edge.core.events import Event, LaneUp, Planned
from edge.core.interfaces import Moment
from edge.estimators.table import Table
from edge.planners.simulate_to_place import SimulateToPlace
from edge.policies.first_come import FirstCome
from edge.policies.wrappers.default_stack import complete
from evaluation.arrivals.request import Arrival, requests_of
from evaluation.scenario import MS, Scenario, play
from tests.edge.planners.blocks.test_what_if import sized


class Watch:
    """Keeps every plan, and what is in memory at last."""

    def __init__(self) -> None:
        self.plans: list[tuple[int, object]] = []
        self.resident: dict[str, set[str]] = {}

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        if isinstance(moment.event, Planned):
            self.plans.append((moment.now, moment.event.plan.placement))
        self.resident = {name: set(lane.residency.resident) for name, lane in moment.state.lanes.items()}
        return ()


def scenario(seconds: int = 4, bytes_: int = 500) -> Scenario:
    """Two models that ask for most of a lane each, and two lanes that hold one each."""
    served = (sized("a", 8), sized("b", 8))
    times = range(0, seconds * 1000 * MS, 10 * MS)
    came = [Arrival(time_ns, "cam", model, 30 * MS) for time_ns in times for model in ("a", "b")]
    lanes = tuple(LaneUp(name, "simulated", bytes_) for name in ("left", "right"))
    return Scenario("two", served, requests_of(came), lanes=lanes, slowdown=0)


def test_each_lane_gets_its_model() -> None:
    watch, planner = Watch(), SimulateToPlace(requests=200)
    box = scenario()
    play(box, complete(FirstCome()), Table(), (planner, watch))
    (_, placement), *_ = watch.plans
    assert sorted(placement.values()) == [("a",), ("b",)]  # type: ignore[attr-defined]
    assert len(watch.plans) == 1  # what was posted once is not posted again
    digests = {served.variant.model: served.variant.stages[0] for served in box.served}
    assert watch.resident == {lane: {digests[model] for model in models} for lane, models in placement.items()}  # type: ignore[attr-defined]


def test_it_plans_again_after_its_period() -> None:
    planner = SimulateToPlace(requests=200, period_s=1)
    asked: list[int] = []
    search_begins = planner._asked
    planner._asked = lambda: asked.append(1) or search_begins()  # type: ignore[method-assign, func-returns-value]
    play(scenario(), complete(FirstCome()), Table(), (planner,))
    assert 3 <= len(asked) <= 4


def test_too_few_requests_are_no_ground_to_plan_on() -> None:
    watch = Watch()
    box = scenario(seconds=1)
    play(replace(box, requests=box.requests[:99]), complete(FirstCome()), Table(), (SimulateToPlace(), watch))
    assert watch.plans == []


def test_the_same_traffic_makes_the_same_plan() -> None:
    plans = []
    for _ in range(2):
        watch = Watch()
        play(scenario(bytes_=10**6), complete(FirstCome()), Table(), (SimulateToPlace(requests=200), watch))
        plans.append(watch.plans)
    assert plans[0] == plans[1] != []


@pytest.mark.parametrize("options", [{"requests": 50}, {"requests_min": 0}, {"beam": -1}])
def test_options_that_make_no_sense(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        SimulateToPlace(**options)
