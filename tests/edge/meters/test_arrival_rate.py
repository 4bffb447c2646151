"""Buckets, the moving average, and what moments tell about each model's traffic."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Arrived, LaneUp, Request
from edge.core.interfaces import Moment
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import State
from edge.estimators.table import Table
from edge.meters.arrival_rate import RateMeter
from edge.meters.traffic import APPS_MAX, Traffic
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import Scenario, affine, play
from evaluation.synthetic import ANSWERS, DETECTIONS, MS, cameras, models

SECOND = 1000 * MS
TIMES = st.lists(st.integers(0, 20 * SECOND), max_size=60).map(sorted)


def counted(times_ns: Sequence[int], **options: float) -> RateMeter:
    meter = RateMeter(**options)
    for time_ns in times_ns:
        meter.count("m", time_ns)
    return meter


def test_a_steady_rate_is_found_from_the_first_bucket_on() -> None:
    meter = counted([at * 10 * MS for at in range(1000)])
    assert counted([at * 10 * MS for at in range(10)]).rate("m", 100 * MS) == pytest.approx(100)
    assert meter.rate("m", 10 * SECOND) == pytest.approx(100)


def test_what_was_never_counted_has_no_rate() -> None:
    assert RateMeter().rate("m", 5 * SECOND) == 0
    assert counted([0]).rate("other", 5 * SECOND) == 0


def test_the_bucket_that_is_open_does_not_count_yet() -> None:
    assert counted([0, 1, 2]).rate("m", 99 * MS) == 0


def test_a_rate_that_jumps_is_followed_within_its_window() -> None:
    times = [at * 100 * MS for at in range(300)] + [30 * SECOND + at * 10 * MS for at in range(1000)]
    assert counted(times).rate("m", 40 * SECOND) == pytest.approx(100 - 90 / 2.718, abs=2)


def test_a_new_name_did_not_ask_before() -> None:
    meter = counted([0])
    for at in range(100):
        meter.count("new", 10 * SECOND + at * 10 * MS)
    assert meter.rate("new", 11 * SECOND) < 20
    assert meter.rate_since_new("new", 11 * SECOND) == pytest.approx(100)
    assert meter.rate_since_new("m", 11 * SECOND) == meter.rate("m", 11 * SECOND)
    assert meter.rate_since_new("other", 11 * SECOND) == 0


def test_what_is_long_over_is_forgotten() -> None:
    meter = counted([0, 1, 2, 100 * SECOND], kept_s=60)
    assert meter.rate("m", 101 * SECOND) > 0
    assert [number for number, _ in meter.series["m"].closed] == [1000]


@given(TIMES, st.integers(0, 30))
def test_reading_changes_nothing(times: list[int], reads: int) -> None:
    meter, quiet = RateMeter(), RateMeter()
    for time_ns in times:
        quiet.count("m", time_ns)
        meter.count("m", time_ns)
        for name in ("m", "other")[: reads % 3]:
            meter.rate(name, time_ns)
    assert meter.rate("m", 21 * SECOND) == pytest.approx(quiet.rate("m", 21 * SECOND))


@given(TIMES)
def test_the_rate_lies_between_none_and_the_fullest_bucket(times: list[int]) -> None:
    meter = counted(times)
    fullest = max(Counter(at // (100 * MS) for at in times).values(), default=0)
    assert 0 <= meter.rate("m", 21 * SECOND) <= fullest * 10 + 1e-6


# ---- what moments tell --------------------------------------------------------------------------------------------


class Watcher:
    """An observer that only counts."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def observe(self, moment: Moment) -> tuple[()]:
        self.traffic.see(moment)
        return ()


def test_dropped_requests_are_asked_for_all_the_same() -> None:
    requests = tuple(Request(1 + at, "m", "c", at * 10 * MS, at * 10 * MS + 15 * MS) for at in range(500))
    scenario = Scenario("overload", (affine("m", 20, 1),), requests)
    watcher = Watcher()
    world = play(scenario, complete(EarliestDeadlineFirst()), Table(), (watcher,))
    assert sum(reply.outcome == "late" for _, reply in world.replies) > 200
    assert watcher.traffic.rates(5 * SECOND) == {"m": pytest.approx(100, rel=0.05)}
    assert watcher.traffic.slos_ns == {"m": 15 * MS}


def test_a_cascade_is_learnt_from_what_its_answers_lead_to() -> None:
    watcher = Watcher()
    arrivals = cameras(1, 400, background=0.1)
    world = SimulatedWorld(1, arrivals, [LaneUp("sim0", "simulated", 20_000)], models(), DETECTIONS, profile=Table())
    run(Scheduler(State(Table()), complete(EarliestDeadlineFirst()), ANSWERS), world, (watcher,))
    traffic = watcher.traffic
    assert traffic.roots() == ["detector"]
    children = traffic.children("detector")
    assert children == {"persons": pytest.approx(1.5, abs=0.3), "vehicles": pytest.approx(2.0, abs=0.3)}
    assert traffic.children("persons") == {}
    rates = traffic.rates(10 * SECOND)
    assert rates["detector"] == pytest.approx(40, rel=0.1)
    assert rates["vehicles"] == pytest.approx(40 * children["vehicles"], rel=0.1)
    assert set(rates) == {"detector", "persons", "vehicles"}  # the teacher has no deadline


def test_names_that_come_with_requests_do_not_pile_up() -> None:
    traffic, state = Traffic(), State(Table())
    for number in range(APPS_MAX + 10):
        traffic.see(Moment(number, Arrived(Request(number, f"app{number}", "c", number, number + 10)), (), state))
    assert len(traffic._opens) == APPS_MAX
    assert "app0" not in traffic._opens
