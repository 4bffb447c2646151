"""Forecasts by hand, what they plan, and by ablation that what is forecast is what is loaded."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Arrived, LaneUp, Load, Plan, Planned, Request, Run, Woke
from edge.core.interfaces import Moment
from edge.estimators.table import Table
from edge.meters.history import History
from edge.observers.trace import Digest
from edge.planners.forecast import Forecast, first, since
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.presets import with_memory
from evaluation.scenario import MS, Scenario, affine, play
from evaluation.synthetic import served, stage

MB = 1_000_000
SEASON_S = 10.0


def model(name, megabytes, ms=2.0):
    return with_memory(affine(name, ms, 3.0), megabytes * MB)


def requests_of(arrivals, slo_ms=60):
    """From (second, model), ids in order of time."""
    ordered = sorted((round(at_s * 1e9), name) for at_s, name in arrivals)
    return tuple(Request(i, name, name, at, at + slo_ms * MS) for i, (at, name) in enumerate(ordered, 1))


def poisson(random, name, begin_s, end_s, rate):
    at_s = begin_s + random.expovariate(rate)
    while at_s < end_s:
        yield at_s, name
        at_s += random.expovariate(rate)


def day_and_night(seasons=6, room=100, seed=0):
    """Two models that take turns, each 80 MB, and a small one that is asked all the time; memory holds one of the two.

    A load takes 81 ms, more than a frame may.
    """
    random = Random(seed)
    arrivals = [*poisson(random, "always", 0, seasons * SEASON_S, 20)]
    for season in range(seasons):
        begin_s = season * SEASON_S
        arrivals += poisson(random, "day", begin_s, begin_s + 4, 30)
        arrivals += poisson(random, "night", begin_s + 5, begin_s + 9, 30)
    models = (model("day", 80), model("night", 80), model("always", 10))
    return Scenario("turns", models, requests_of(arrivals), lanes=(LaneUp("sim0", "simulated", room * MB),))


class Loads:
    """Loads that somebody waited for, loads ahead, and who came to find his model absent."""

    def __init__(self):
        self.waited_for, self.ahead, self.cold, self.plans = 0, 0, 0, []

    def observe(self, moment):
        state, event = moment.state, moment.event
        if isinstance(event, Arrived) and (known := state.models.get(event.request.app)) and known.serving:
            self.cold += known.serving.stages[0] not in state.resident
        for action in moment.actions:
            if isinstance(action, Load):
                awaited = action.stage in state.queues
                self.waited_for, self.ahead = self.waited_for + awaited, self.ahead + (not awaited)
        if isinstance(event, Planned):
            self.plans.append(event.plan.preload)
        return ()


def played(scenario, *planners):
    """Good answers, what was loaded, and the digest of the trace."""
    loads, digest = Loads(), Digest()
    world = play(scenario, complete(EarliestDeadlineFirst()), Table(), (*planners, loads, digest))
    deadlines = {request.id: request.deadline_ns for request in scenario.requests}
    good = sum(reply.outcome == "ok" and now <= deadlines[reply.request_id] for now, reply in world.replies)
    return good, loads, digest.hexdigest()


# ---- the forecast is on the executed path: take parts of it away, and what is loaded changes


def test_with_a_season_models_are_there_before_they_are_asked_for():
    scenario = day_and_night()
    without, on_demand, _ = played(scenario)
    with_forecast, ahead, _ = played(scenario, Forecast(season_s=SEASON_S))
    assert on_demand.waited_for >= 10, "each turn but the first is begun with a load"
    assert ahead.waited_for <= 4, "after the first season and its two turns nobody waits"
    assert ahead.cold < on_demand.cold / 3
    assert with_forecast - without >= 10


def test_without_the_forecast_in_the_plan_nothing_is_loaded_ahead():
    """The same planner, but nobody hears of its plan: the core does what it does without it."""

    class Bypassed(Forecast):
        def observe(self, moment):
            deaf = replace(moment, state=moment.state)
            assert all(isinstance(event, Planned) for event in super().observe(deaf))
            return iter(())

    scenario = day_and_night(seasons=3)
    good, loads, _ = played(scenario, Bypassed(season_s=SEASON_S))
    without, on_demand, _ = played(scenario)
    assert (good, loads.waited_for, loads.ahead) == (without, on_demand.waited_for, on_demand.ahead)


def test_without_headroom_nobody_is_expected():
    scenario = day_and_night(seasons=3)
    good, loads, _ = played(scenario, Forecast(season_s=SEASON_S, headroom=0.0))
    without, on_demand, _ = played(scenario)
    assert (good, loads.waited_for, loads.ahead) == (without, on_demand.waited_for, on_demand.ahead)
    assert any(loads.plans), "who is being asked for is in the plan all the same"


@pytest.mark.parametrize("wrong", [{"season_s": 7.0}, {"season_s": 0.0}])
def test_a_wrong_season_gains_little_and_harms_little(wrong):
    scenario = day_and_night()
    without, _, _ = played(scenario)
    right, _, _ = played(scenario, Forecast(season_s=SEASON_S))
    good, _, _ = played(scenario, Forecast(**wrong))
    assert without - 10 <= good < right


def test_where_memory_holds_all_nothing_changes():
    scenario = day_and_night(seasons=2, room=500)
    good, loads, _ = played(scenario, Forecast(season_s=SEASON_S))
    without, on_demand, _ = played(scenario)
    assert (good, loads.waited_for, loads.ahead) == (without, on_demand.waited_for, on_demand.ahead)


def test_the_same_run_is_the_same_to_the_byte():
    scenario = day_and_night(seasons=2)
    assert played(scenario, Forecast(season_s=SEASON_S))[2] == played(scenario, Forecast(season_s=SEASON_S))[2]


# ---- forecasts by hand


class Hand:
    """A forecast of whole seconds that is told of tasks one by one; one model of a stage for each name."""

    def __init__(self, core, *models, room=10**9, **options):
        self.planner = Forecast(**{"period_s": 1.0, "window_s": 1.0, **options})
        self.box = core(*models, policy=complete(EarliestDeadlineFirst()), lanes={"cpu0": room})
        self.plan, self.number = Plan(), 0

    def ask(self, name, at_s, times=1):
        for _ in range(times):
            self.number += 1
            now = round(at_s * 1e9)
            event = Arrived(Request(self.number, name, "camera", now, now + 100 * MS))
            actions = self.box.do(event, at_s * 1e3)
            self._see(Moment(now, event, actions, self.box.state))
            if self.box.running():
                self.box.finish()

    def look(self, at_s):
        now = round(at_s * 1e9)
        self.box.do(Woke(), at_s * 1e3)
        self._see(Moment(now, Woke(), (), self.box.state))

    def _see(self, moment):
        for event in self.planner.observe(moment):
            self.plan = event.plan
            self.box.do(event)


A, B, C = (served(name, stage(name, 5, 100)) for name in ("a", "b", "c"))


def test_without_a_season_the_average_is_expected_of_all_periods(core):
    """Four in each of some seconds: an average that forgets within a second is at four."""
    hand = Hand(core, A, ahead=3)
    for second in range(6):
        hand.ask("a", second + 0.5, times=4)
    hand.look(6.1)
    assert hand.planner.expected("a", 6) == pytest.approx([4, 4, 4], rel=0.01)


def test_with_a_season_what_came_then_is_expected(core):
    """Seconds 1, 2, 3, … of a season of four had 5, 0, 7, 0 tasks."""
    hand = Hand(core, A, ahead=4, season_s=4.0)
    for second, tasks in enumerate([0, 5, 0, 7, 0]):
        hand.ask("a", second + 0.5, times=tasks)
        hand.look(second + 0.6)
    hand.look(5.1)
    assert hand.planner.expected("a", 5) == [5, 0, 7, 0]


def test_what_comes_above_the_season_is_expected_too(core):
    """Two in each second, and in the last two of them thirty: so it may go on, on top of what the season says."""
    hand = Hand(core, A, ahead=2, season_s=8.0)
    hand.look(0.1)
    for second in range(1, 11):
        hand.ask("a", second + 0.5, times=2 if second < 9 else 30)
    hand.look(11.1)
    assert hand.planner.expected("a", 11) == pytest.approx([30, 30], rel=0.2)


def test_a_few_more_may_be_chance(core):
    """Nine where eight came a season ago is not more."""
    hand = Hand(core, A, ahead=1, season_s=4.0)
    for second in range(9):
        hand.ask("a", second + 0.5, times=8 if second < 5 else 9)
    hand.look(9.1)
    assert hand.planner.expected("a", 9) == [9], "what came in second 5, and nothing on top"


# ---- plans


def test_who_is_needed_soonest_goes_first_and_who_does_not_fit_stays_out(core):
    """Two fit. Of a season of six seconds: c in the second 1, b in 2, a in 4; now it is 6, and none is asked for."""
    hand = Hand(core, A, B, C, room=200, season_s=6.0)
    hand.look(0.1)
    for second, name in [(1, "c"), (2, "b"), (4, "a")]:
        hand.ask(name, second + 0.5, times=2)
    hand.look(5.5)
    hand.look(6.5)
    assert hand.plan.preload == ("c", "b")


def test_of_two_that_are_needed_equally_soon_the_one_that_is_there_stays(core):
    """Else they would push each other out at each plan."""
    hand = Hand(core, A, B, room=100, window_s=20.0)
    hand.ask("a", 0.5, times=3)
    hand.ask("b", 1.5, times=20)
    hand.look(3.5)
    assert hand.plan.preload == ("b",)
    hand.ask("a", 3.6, times=3)
    hand.ask("a", 4.6, times=3)
    hand.look(6.1)
    assert hand.plan.preload == ("a",), "though of b more is expected"


def test_whoever_is_asked_for_is_in_the_plan_at_once_whatever_was_forecast(core):
    hand = Hand(core, A, B, room=100, season_s=6.0)
    hand.look(0.1)
    hand.ask("a", 1.5, times=2)
    hand.look(7.1)
    assert hand.plan.preload == ("a",)
    hand.ask("b", 7.2)
    assert hand.plan.preload == ("b",)
    hand.look(8.1)
    assert hand.plan.preload == ("b",), "it was asked for in the last period"


def test_a_model_stays_until_none_of_the_last_plans_expected_it(core):
    """The forecast of a model that was asked for once falls below one task; three plans keep it."""
    hand = Hand(core, A, plans=3, ahead=1, window_s=0.5)
    hand.ask("a", 0.5, times=2)
    seen = []
    for second in range(1, 7):
        hand.look(second + 0.5)
        seen.append(hand.plan.preload)
    assert seen[0] == ("a",)
    assert seen[-1] == ()
    last = max(index for index, preload in enumerate(seen) if preload)
    assert last == 2, "expected at the first plan only, in the plan for three"


def test_two_models_that_share_a_blob_take_its_room_once(core):
    shared = stage("backbone", 4, 80)
    first_model = served("a", shared, stage("head", 1, 10, head="a"))
    second_model = served("b", shared, stage("head", 1, 10, head="b"))
    hand = Hand(core, first_model, second_model, room=200, season_s=6.0)
    hand.look(0.1)
    for name in ("a", "b"):
        hand.ask(name, 1.5, times=2)
    hand.look(7.1)
    assert hand.plan.preload == ("a", "b")


def test_other_words_of_the_plan_are_left_alone(core):
    hand = Hand(core, A)
    hand.box.state.plan = hand.plan = Plan(background=0.25)
    hand.ask("a", 0.5)
    hand.look(1.5)
    assert (hand.plan.background, hand.plan.preload) == (0.25, ("a",))


@pytest.mark.parametrize(
    "options", [{"period_s": 0}, {"window_s": 0}, {"ahead": 0}, {"plans": 0}, {"headroom": -1}, {"season_s": 2.0}]
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r"expected|season"):
        Forecast(**options)


# ---- whoever obeys


def test_what_the_plan_expects_is_loaded_in_the_place_of_what_it_does_not(core):
    box = core(A, B, lanes={"cpu0": 100})
    assert A.variant.stages[0] in box.state.resident
    actions = box.do(Planned(Plan(preload=("b",))))
    assert B.variant.stages[0] in box.state.resident
    assert [action.stage for action in actions if isinstance(action, Load)] == [B.variant.stages[0]]
    assert not [action for action in box.do(Planned(Plan(preload=("b",)))) if isinstance(action, Load)]


def test_nothing_that_is_expected_or_waited_for_gives_way(core):
    box = core(A, B, lanes={"cpu0": 100})
    assert not box.do(Planned(Plan(preload=("a", "b")))), "both are expected, one is there"
    box.ask("a", 100)
    box.do(Planned(Plan(preload=("b",))))
    assert isinstance(box.running(), Run)
    assert A.variant.stages[0] in box.state.resident, "it runs"


def test_whoever_waits_goes_before_whoever_is_expected(core):
    box = core(A, B, lanes={"cpu0": 100})
    box.do(Planned(Plan(preload=("a",))))
    request = box.ask("b", 100)
    box.finish(at_ms=5)
    assert box.outcome(request) == "ok"
    assert A.variant.stages[0] in box.state.resident, "and then it is there again"


def test_names_that_nobody_serves_are_passed_over(core):
    box = core(A, lanes={"cpu0": 100})
    assert box.do(Planned(Plan(preload=("nobody", "a")))) == []


# ---- small parts


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=30), st.integers(1, 12))
def test_a_history_has_what_came_within_its_size_and_nothing_else(steps, size):
    history, period, put = History(size), 0, {}
    for step, number in steps:
        period += step
        history.put(period, number)
        put[period] = number
    for asked in range(max(0, period - size + 1), period + 1):
        assert history.at(asked) == put.get(asked, 0)
    assert len(history._kept) <= size


def test_the_first_period_in_which_there_are_enough():
    assert first([0.2, 0.2, 0.7, 5], 1.0) == 2
    assert first([0.2, 0.2], 1.0) is None
    assert first([2.0], 1.0) == 0


def test_buckets_since():
    assert since(3, [(1, 9), (3, 8), (5, 7)]) == [(3, 8), (5, 7)]
    assert since(6, [(1, 9)]) == []
