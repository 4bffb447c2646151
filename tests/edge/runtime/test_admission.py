"""Frames and tensor requests become requests of the core, or a word to the listeners with the reason."""

from dataclasses import replace
from time import monotonic_ns

import pytest

from edge.core.events import Arrived, Reply, Withdrawn
from edge.data.tensor_request import TensorRequest
from edge.runtime.admission import INBOX_BYTES_MAX, INBOX_FRAMES_MAX, OTHERS, STREAM_OPEN_MAX, STREAMS_MAX
from tests.edge.runtime.world_by_hand import frame, hear_all, heard, made

MS = 1_000_000


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
    world.admission.recall = lambda opened: Reply(opened.request.id, "ok") if opened.request.id == 2 else None
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
    assert world.admission.inbox_bytes == INBOX_BYTES_MAX
    hear_all(world)
    assert (world.admission.inbox_bytes, books.fell) == (0, {("gate", "", "inbox_full"): 1})
    world.receive(replace(half, payload=bytes(INBOX_BYTES_MAX + 1)))
    assert world.admission.inbox_bytes > INBOX_BYTES_MAX


def test_cameras_that_are_lost_at_the_door_are_bounded_too(world, books):
    for _ in range(INBOX_FRAMES_MAX + 1):
        world.receive(frame())
    for number in range(1_000):
        world.receive(frame(f"stranger-{number}"))
    hear_all(world)
    assert len(world.admission.inbox_full) <= STREAMS_MAX + 1
    assert books.fell[OTHERS, "", "inbox_full"] == 1_000 - STREAMS_MAX
