"""What counts as served well: in time, or not at all."""

import pytest

from edge.core.events import Arrived, Event, Outcome, Reply, Request, Woke
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.estimators.table import Table
from edge.meters.slo_attainment import APPS_MAX, Attainment


def after(*told: tuple[Outcome, int], forget: float = 0.5) -> float:
    """Requests of one app due at 10, answered like this at these times, one after the other."""
    known, state = Attainment(forget), State(Table())
    for number, (outcome, at) in enumerate(told):
        came: Event = Arrived(Request(number, "a", "c", 0, 10))
        known.observe(Moment(0, came, (), state))
        known.observe(Moment(at, Woke(), (Reply(number, outcome),), state))
    return known.shares.get("a", 1.0)


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ([], 1.0),
        ([("ok", 10)], 1.0),
        ([("ok", 11)], 0.5),
        ([("late", 5)], 0.5),
        ([("refused", 5), ("failed", 5)], 0.25),
        ([("refused", 5), ("ok", 5)], 0.75),
        ([("superseded", 5), ("withdrawn", 5), ("stopped", 5)], 1.0),
    ],
)
def test_who_counts(told: list[tuple[Outcome, int]], share: float) -> None:
    assert after(*told) == pytest.approx(share)


def test_background_work_and_strangers_do_not_count() -> None:
    known, state = Attainment(), State(Table())
    known.observe(Moment(0, Arrived(Request(1, "a", "c", 0, None)), (Reply(1, "refused"), Reply(9, "late")), state))
    assert known.shares == {}


def test_names_that_come_with_requests_do_not_pile_up() -> None:
    known, state = Attainment(), State(Table())
    for number in range(APPS_MAX + 10):
        for name, request in (("kept", 2 * number), (f"app{number}", 2 * number + 1)):
            came = Arrived(Request(request, name, "c", 0, 10))
            known.observe(Moment(0, came, (Reply(request, "late"),), state))
    assert len(known.shares) == APPS_MAX
    assert "kept" in known.shares
    assert "app0" not in known.shares
