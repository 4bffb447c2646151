"""The live world, driven by hand: events in, actions out, and an end in order."""

from time import monotonic_ns

import pytest

from edge.core.events import Closing, LaneUp, Load, Loaded, Reply, WakeAt, Woke
from edge.core.interfaces import Moment
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import served, stage
from tests.edge.runtime.world_by_hand import answer, frame, hear_all, heard

MS = 1_000_000


def test_what_the_core_forgets_is_forgotten(world):
    state = State(Table())
    scheduler = Scheduler(state, complete(EarliestDeadlineFirst()), {})
    scheduler.handle(LaneUp("cpu0", "cpu", 10**6), 0)
    for number in range(50):
        event = served("paint", stage("paint", 5, head=f"head-{number}"))
        world.post(event)
        assert heard(world)[1] == event
        for action in scheduler.handle(event, number):
            if isinstance(action, Load):
                scheduler.handle(Loaded(action.lane, action.stage), number)
        world.observe(Moment(number, event, (), state))
    assert set(world.stages) == set(state.stages)
    assert len(world.stages) < 10
    assert [variant for _, variant in world.variants] == [event.variant.stages]


def test_background_work_is_answered_to_who_asked(world, books):
    said = []
    request_id = world.submit("teacher", lambda opened, reply: said.append(reply.outcome))
    (event,) = hear_all(world)
    assert event.request.deadline_ns is None
    answer(world, request_id, "refused")
    assert said == ["refused"]


def test_it_wakes_when_asked(world):
    now = monotonic_ns()
    world.do(WakeAt(now + 2 * MS))
    woken, event = world.listen()
    assert event == Woke()
    assert woken >= now + 2 * MS


def test_words_of_other_threads_are_done_on_the_loop(world):
    said = []
    world.call(lambda: said.append("done"))
    world.post(Closing())
    assert world.listen()[1] == Closing()
    assert said == ["done"]


def test_a_bug_of_a_lane_is_raised_on_the_loop(world):
    world.post(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        world.listen()


def test_draining_counts_what_comes_and_ends_when_all_is_answered(world, books):
    world.receive(frame())
    (event,) = hear_all(world)
    world.ready.clear()
    world.ask_to_stop()
    world.ask_to_stop()
    assert heard(world)[1] == Closing()
    world.receive(frame())
    world.do(Reply(event.request.id, "stopped"))
    assert world.listen() is None
    assert books.fell == {("gate", "", "stopped"): 1}
    assert not world.receive(frame()), "the books are closed"
    assert world.inbox.empty()
    assert [reply.outcome for _, reply, _ in books.replies] == ["stopped"]
