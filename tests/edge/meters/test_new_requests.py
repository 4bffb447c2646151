"""Who has just come: each request once, and none that is background, begun or answered."""

from collections.abc import Callable
from typing import Any

from edge.core.events import Arrived, Reply, Woke
from edge.core.interfaces import Moment
from edge.meters.new_requests import Newcomers
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from tests.edge.policies.blocks.test_feasibility import Idle

Build = Callable[..., Any]


def numbers(newcomers: Newcomers, box: Any) -> list[int]:
    return [opened.request.id for opened in newcomers.waiting(box.state)]


def test_each_once_and_the_last_one_first(core: Build) -> None:
    box, newcomers = core(affine("eye", 1, 1), policy=complete(Idle())), Newcomers()
    for _ in range(3):
        box.ask("eye")
    box.ask("eye", slo_ms=None)
    assert numbers(newcomers, box) == numbers(newcomers, box) == [3, 2, 1]
    for number in (1, 2):
        newcomers.see(Moment(0, Arrived(box.state.requests[number].request), (), box.state))
    assert numbers(newcomers, box) == [3]
    newcomers.see(Moment(0, Woke(), (Reply(2, "late"),), box.state))
    assert newcomers.known == {1}


def test_what_runs_is_no_newcomer(core: Build) -> None:
    box = core(affine("eye", 1, 1))
    box.ask("eye")
    assert box.running() is not None
    assert numbers(Newcomers(), box) == []
