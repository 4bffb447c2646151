"""The state's own check finds what must not be: one broken book at a time."""

from collections.abc import Callable

import pytest

from edge.core.state import State
from evaluation.synthetic import served, stage
from tests.edge.conftest import Core

FACE = served("face", stage("face", 4))
BROKEN: dict[str, Callable[[State], object]] = {
    "a task in no queue": lambda state: state.queues.clear(),
    "a queue out of order": lambda state: next(iter(state.queues.values())).reverse(),
    "a task among the background": lambda state: state.background.update({"x": [state.queues.popitem()[1][0]]}),
    "an empty queue": lambda state: state.queues.__setitem__("x", []),
    "a task too many": lambda state: state.requests[2].tasks.append(99),
    "a task that is done and still waits": lambda state: state.requests[2].finished.extend(state.requests[2].tasks),
    "a flight miscounted": lambda state: state.flights.update({("x",): 1}),
    "a work that does not run": lambda state: state.works.update({77: "cpu0"}),
    "background time miscounted": lambda state: setattr(state.lanes["cpu0"], "recent_ns", 5),
    "bytes that do not add up": lambda state: setattr(state.lanes["cpu0"].residency, "used_bytes", 0),
    "more bytes than there are": lambda state: setattr(state.lanes["cpu0"].residency, "limit_bytes", 1),
    "a resident stage forgotten": lambda state: state.resident.clear(),
    "a stage that serves forgotten": lambda state: state.stages.clear(),
}  # fmt: skip


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_a_broken_book_is_found(core: Callable[..., Core], damage: Callable[[State], object]) -> None:
    box = core(FACE)
    for slo_ms in (500.0, 400.0, 300.0):
        box.ask("face", slo_ms)
    box.state.check()
    damage(box.state)
    with pytest.raises(AssertionError):
        box.state.check()
