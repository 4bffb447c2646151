"""The door opens when all that serves is loaded, once, and not for ever later."""

from edge.core.events import LaneUp, Loaded, Served, Woke
from edge.core.interfaces import Moment
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.observers.ready import PATIENCE_NS, Ready
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from porting.variant import Stage, Variant

STAGE = Stage("onnx", "g", blobs={"g": 100}, durations_ns={1: 1_000_000})
SERVED = Served(Variant("m", "fp32", (STAGE.digest,)), (STAGE,))


def told(memory_bytes, *later):
    """Times at which the door was opened, with these events one second apart."""
    scheduler = Scheduler(State(Table()), complete(EarliestDeadlineFirst()), {})
    opened: list[int] = []
    ready = Ready(["m"], lambda: opened.append(scheduler.state.now))
    for second, event in enumerate([LaneUp("cpu0", "cpu", memory_bytes), SERVED, *later]):
        now = second * 1_000_000_000
        ready.observe(Moment(now, event, scheduler.handle(event, now), scheduler.state))
    return opened


def test_not_before_everything_is_loaded_and_only_once():
    assert told(1_000) == []
    assert told(1_000, Loaded("cpu0", STAGE.digest), Woke(), Woke()) == [2_000_000_000]


def test_what_can_never_be_loaded_is_not_waited_for():
    assert told(10) == [1_000_000_000]


def test_patience_ends():
    opened = told(1_000, *[Woke()] * 12)
    assert len(opened) == 1
    assert opened[0] > PATIENCE_NS
