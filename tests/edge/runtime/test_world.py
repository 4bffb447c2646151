"""The live world, driven by hand: frames become events, and each of them a word to the listeners."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import pytest

from edge.config import AppSettings, Config, StreamSettings
from edge.core.events import Arrived, Closing, LaneUp, Load, Loaded, Reply, WakeAt, Withdrawn, Woke
from edge.core.interfaces import Moment
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.data.frame import Frame
from edge.data.tensor_request import TensorRequest
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from edge.runtime.world import INBOX_BYTES_MAX, INBOX_FRAMES_MAX, OTHERS, STREAM_OPEN_MAX, STREAMS_MAX, LiveWorld
from evaluation.synthetic import served, stage

MS = 1_000_000


class Books:
    """A listener that counts."""

    def __init__(self):
        self.came, self.fell, self.replies = Counter(), Counter(), []

    def arrived(self, camera):
        self.came[camera] += 1

    def dropped(self, camera, app, reason):
        self.fell[camera, app, reason] += 1

    def replied(self, opened, reply, now):
        self.replies.append((opened, reply, now))


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def world(books):
    return made(books)


def made(books, streams=None, **apps):
    table = {name: AppSettings(use="edge.answers.single:Single", model="m", slo_ms=slo) for name, slo in apps.items()}
    named = {name: StreamSettings(**stream) for name, stream in (streams or {"*": {"apps": ("a",)}}).items()}
    config = Config(models=Path("m"), apps=table or {"a": AppSettings(use="x:Y", slo_ms=80)}, streams=named)
    return LiveWorld(config, {}, [books])


def frame(camera="gate", at_ns=None):
    return Frame(camera, b"jpeg", monotonic_ns() if at_ns is None else at_ns, 0.0, 0.0, 1)


def heard(world):
    """The next event that is not the clock's."""
    while True:
        now, event = world.listen()
        if not isinstance(event, Woke):
            return now, event


def hear_all(world):
    """Everything that follows from what is in the inbox now."""
    events = []
    world.call(lambda: events.append(None))
    while None not in events:
        world._take_from_inbox()
    return [*world.ready]


def answer(world, request_id, outcome="ok"):
    world.do(Reply(request_id, outcome))
    world._tell_replies()


def test_a_frame_becomes_a_request_with_its_deadline_counted_from_arrival(world, books):
    at_ns = monotonic_ns() - 5 * MS
    world.receive(frame(at_ns=at_ns))
    now, event = heard(world)
    assert event == Arrived(event.request)
    assert (event.request.app, event.request.stream) == ("a", "gate")
    assert event.request.arrived_ns == at_ns < now
    assert event.request.deadline_ns == at_ns + 80 * MS
    assert books.came == {"gate": 1}


def test_every_app_of_a_stream_gets_a_request_of_its_own(books):
    world = made(books, {"gate": {"apps": ("a", "b")}}, a=10, b=20)
    world.receive(frame(at_ns=0))
    first, second = heard(world)[1].request, heard(world)[1].request
    assert (first.app, first.deadline_ns) == ("a", 10 * MS)
    assert (second.app, second.deadline_ns) == ("b", 20 * MS)
    assert world.open[first.id].picture is world.open[second.id].picture, "decoded once"


def test_a_newer_frame_withdraws_the_one_that_waits_before_it_arrives(world):
    for _ in range(2):
        world.receive(frame())
    old, withdrawn, new = (event for event in hear_all(world))
    assert withdrawn == Withdrawn(old.request.id, "superseded")
    assert new.request.id > old.request.id


def test_what_has_begun_is_not_withdrawn(world):
    world.receive(frame())
    (old,) = hear_all(world)
    world.open[old.request.id].begun = True
    world.receive(frame())
    assert not any(isinstance(event, Withdrawn) for event in hear_all(world))


def test_a_frame_that_is_answered_at_once_takes_nobodys_place(world, books):
    world.recall = lambda opened: Reply(opened.request.id, "ok") if opened.request.id == 2 else None
    for _ in range(2):
        world.receive(frame())
    (first,) = hear_all(world)
    assert [*world.open] == [first.request.id] == [1]
    assert [reply.request_id for _, reply, _ in books.replies] == [2]
    world.receive(frame())
    assert Withdrawn(1, "superseded") in hear_all(world)


def test_a_row_that_nobody_waits_for_any_more_is_not_begun(world, books):
    told = []
    asked = TensorRequest("m", "http/m", 0, MS, lambda reply, jobs: told.append(reply.outcome))
    assert world.ask(asked)
    asked.withdrawn = True
    assert hear_all(world) == []
    assert told == ["withdrawn"]
    assert books.fell == {("http/m", "", "withdrawn"): 1}
    assert not world.open


def test_as_many_wait_as_the_stream_allows(books):
    world = made(books, {"*": {"apps": ("a",), "waiting_max": 3}}, a=10)
    for _ in range(5):
        world.receive(frame())
    events = hear_all(world)
    assert [event.request_id for event in events if isinstance(event, Withdrawn)] == [1, 1, 2]


def test_a_stream_whose_answers_never_come_is_bounded(books):
    world = made(books, {"*": {"apps": ("a",), "waiting_max": 32}}, a=10)
    for _ in range(STREAM_OPEN_MAX + 5):
        world.receive(frame())
    hear_all(world)
    assert len(world.open) == STREAM_OPEN_MAX
    assert books.fell == {("gate", "a", "stream_full"): 5}


def test_streams_are_bounded_and_those_of_the_file_always_have_their_place(books):
    world = made(books, {"*": {"apps": ("a",)}, "gate": {"apps": ("a",)}}, a=10)
    for number in range(STREAMS_MAX + 7):
        world.receive(frame(f"stranger-{number}"))
        hear_all(world)
    world.receive(frame("gate"))
    hear_all(world)
    assert sum(books.fell.values()) == 7
    assert {(app, reason) for _, app, reason in books.fell} == {("", "too_many_cameras")}
    assert books.came["gate"] == 1


@pytest.mark.parametrize(
    ("streams", "reason"),
    [({"yard": {"apps": ("a",)}}, "unknown_camera"), ({"gate": {"apps": ("a",), "enabled": False}}, "disabled")],
)
def test_frames_that_nobody_wants_are_dropped_with_the_reason(books, streams, reason):
    world = made(books, streams, a=10)
    world.receive(frame())
    assert hear_all(world) == []
    assert books.fell == {("gate", "", reason): 1}


def test_a_loop_that_is_far_behind_loses_frames_at_the_door_and_counts_them(world, books):
    sent = INBOX_FRAMES_MAX + 40
    for number in range(sent):
        world.receive(frame(f"gate-{number % 3}"))
    hear_all(world)
    fallen = sum(count for (_, _, reason), count in books.fell.items() if reason == "inbox_full")
    assert 0 < fallen <= 40
    assert sum(books.came.values()) + sum(books.fell.values()) == sent


def test_the_inbox_is_bounded_in_bytes_too_and_one_frame_always_goes_in(world, books):
    half = replace(frame(), payload=bytes(INBOX_BYTES_MAX // 2))
    for sent in (half, half, half, replace(half, payload=b"")):
        world.receive(sent)
    assert world.inbox_bytes == INBOX_BYTES_MAX
    hear_all(world)
    assert (world.inbox_bytes, books.fell) == (0, {("gate", "", "inbox_full"): 1})
    world.receive(replace(half, payload=bytes(INBOX_BYTES_MAX + 1)))
    assert world.inbox_bytes > INBOX_BYTES_MAX


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


def test_cameras_that_are_lost_at_the_door_are_bounded_too(world, books):
    for _ in range(INBOX_FRAMES_MAX + 1):
        world.receive(frame())
    for number in range(1_000):
        world.receive(frame(f"stranger-{number}"))
    hear_all(world)
    assert len(world.inbox_full) <= STREAMS_MAX + 1
    assert books.fell[OTHERS, "", "inbox_full"] == 1_000 - STREAMS_MAX


def test_a_reply_is_told_once_and_closes_the_books(world, books):
    world.receive(frame())
    (event,) = hear_all(world)
    answer(world, event.request.id)
    (opened, reply, now) = books.replies[0]
    assert opened.request is event.request
    assert reply.outcome == "ok"
    assert now >= event.request.arrived_ns
    assert not world.open
    assert world.by_stream == {("gate", "a"): []}


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
