"""Planners that post in the same moment come to agree."""

from dataclasses import replace

from edge.core.events import Plan, Planned
from edge.planners.blocks.posting import Posting


def test_the_same_thing_is_said_once() -> None:
    posting, plan = Posting(), Plan()
    posting.want(batches={"m": 4})
    assert [*posting.due(plan)] == [Planned(replace(plan, batches={"m": 4}))]
    assert [*posting.due(plan)] == []
    assert [*posting.due(replace(plan, batches={"m": 4}, background=0.5))] == []


def test_nothing_is_said_by_one_that_wants_nothing() -> None:
    assert [*Posting().due(Plan())] == []


def test_two_that_post_at_once_are_both_heard() -> None:
    mine, yours, plan = Posting(), Posting(), Plan()
    mine.want(batches={"m": 4})
    yours.want(budgets_ns={"m": 7})
    heard = [*mine.due(plan), *yours.due(plan)]
    for _ in range(10):
        if not heard:
            break
        event = heard.pop(0)
        assert isinstance(event, Planned)
        plan = event.plan
        heard += [*mine.due(plan), *yours.due(plan)]
    assert heard == []
    assert (plan.batches, plan.budgets_ns) == ({"m": 4}, {"m": 7})


def test_two_that_want_otherwise_do_not_quarrel_for_ever() -> None:
    mine, yours, plan = Posting(), Posting(), Plan()
    mine.want(batches={"m": 4})
    yours.want(batches={"m": 8})
    heard = [*mine.due(plan), *yours.due(plan)]
    assert len(heard) == 2
    for event in heard:
        assert isinstance(event, Planned)
        assert [*mine.due(event.plan), *yours.due(event.plan)] == []
