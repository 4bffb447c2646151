"""The share of background work: halved by misses, raised in small steps without, within its bounds."""

from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Plan, Planned, Reply, Woke
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.estimators.table import Table
from edge.planners.give_way import GiveWay


def shares(*periods, planner=None, share=0.5):
    """The share after each period; a period is a list of outcomes."""
    planner, state = planner or GiveWay(), State(Table())
    state.plan = Plan(share)
    list(planner.observe(Moment(0, Woke(), (), state)))
    found = []
    for number, outcomes in enumerate(periods, 1):
        replies = [Reply(at, outcome) for at, outcome in enumerate(outcomes)]
        for event in planner.observe(Moment(number * 2_000_000_000, Woke(), replies, state)):
            assert isinstance(event, Planned)
            state.plan = event.plan
        found.append(round(state.plan.background, 4))
    return found


def test_misses_halve_and_quiet_raises():
    assert shares(["ok", "late"], ["ok"] * 9 + ["superseded"], ["ok"] * 9, []) == [0.25, 0.125, 0.175, 0.225]


def test_one_miss_in_two_hundred_is_forgiven():
    assert shares(["ok"] * 199 + ["late"]) == [0.5]


def test_background_replies_and_other_drops_are_no_misses():
    assert shares(["ok", "failed", "refused", "stopped"]) == [0.5]


@given(st.lists(st.lists(st.sampled_from(["ok", "late", "superseded"]), max_size=20), max_size=30))
def test_the_bounds_hold_whatever_comes(periods):
    planner = GiveWay(least=0.1, most=0.4)
    assert all(0.1 <= share <= 0.4 for share in shares(*periods, planner=planner, share=0.3))
