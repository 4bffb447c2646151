"""A broker and its cameras, played by one process: what the daemon's own client makes of it."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.data.frame import Frame
from edge.sources.mqtt.source import MqttSource
from edge.sources.source import result_topic
from evaluation.capacity.fake_broker import (
    LOOPBACK,
    CameraTraffic,
    FakeBroker,
    answer_to,
    camera_of,
    frame_packet,
    packets,
    varint,
)
from tests.conftest import eventually
from tests.edge.sources.inbox import KeepingInbox


class Box:
    """The daemon's side of MQTT: answers each frame of `camera-…` at once, and refuses those that are `bad`."""

    def __init__(self, there: FakeBroker, bad: bytes = b"") -> None:
        self.there, self.bad, self.frames = there, bad, list[Frame]()
        self.source = MqttSource(host=LOOPBACK, port=there.port, node="n", protocol="5")
        self.inbox = KeepingInbox(self.take)

    def take(self, frame: Frame) -> bool:
        self.frames.append(frame)
        if frame.payload == self.bad:
            self.there.tell(frame.camera)
        else:
            self.source.publish(result_topic(frame.camera, "look"), {"objects": []})
        return True


def played(bad: bytes = b"", base: str = "leeway/n") -> tuple[Box, list[float]]:
    with FakeBroker(CameraTraffic(base, [b"one", b"two" * 200], 1, 0.6)) as there:
        box = Box(there, bad)
        box.source.start(box.inbox)
        shares = [*there.watch()]
        box.source.stop()
    assert not there.process.is_alive()
    return box, shares


def test_frames_come_as_long_as_results_go_out() -> None:
    box, shares = played()
    assert shares[-1] == 1.0
    assert len(box.frames) > 100
    assert {frame.payload for frame in box.frames} == {b"one", b"two" * 200}
    first = [frame.seq for frame in box.frames if frame.camera == "camera-0"]
    assert first == list(range(1, len(first) + 1))
    assert all(0 <= frame.received_time - frame.frame_time < 5 for frame in box.frames)
    assert box.source.counters["connects"] == 1
    assert box.source.counters["bad_clock"] == box.source.counters["missing"] == 0


def test_a_frame_without_an_answer_does_not_stop_its_camera() -> None:
    box, _ = played(bad=b"one")
    assert sum(frame.payload == b"one" for frame in box.frames) > 30


def test_whoever_leaves_in_the_middle_ends_it() -> None:
    with FakeBroker(CameraTraffic("leeway/n", [b"one"], 1, 30.0)) as there:
        box = Box(there)
        box.source.start(box.inbox)
        assert eventually(lambda: len(box.frames) > 10)
        box.source.stop()
    assert not there.process.is_alive()


def test_who_never_comes_is_not_waited_for() -> None:
    with FakeBroker(CameraTraffic("leeway/n", [b"one"], 1, 30.0)) as there:
        pass
    assert not there.process.is_alive()


# ---- packets -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from([0x30, 0x32, 0x82, 0xC0]), st.binary(max_size=300)), max_size=5))
def test_packets_are_cut_where_they_end(sent: list[tuple[int, bytes]]) -> None:
    here, there = socket.socketpair()
    with here, there:
        stream = b"".join(bytes([kind]) + varint(len(body)) + body for kind, body in sent)
        threading.Thread(target=lambda: (there.sendall(stream), there.shutdown(socket.SHUT_WR))).start()
        assert [*packets(here)] == sent


def test_a_packet_that_is_cut_off_ends_the_connection() -> None:
    here, there = socket.socketpair()
    with here:
        with there:
            there.sendall(b"\xc0\x00\x30\x85")
        assert [*packets(here)] == [(0xC0, b"")]


@pytest.mark.parametrize(
    ("number", "said"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (16_384, b"\x80\x80\x01"), (321, b"\xc1\x02")]
)
def test_lengths_as_the_standard_has_them(number: int, said: bytes) -> None:
    assert varint(number) == said


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (0x10, b"whatever", b"\x20\x03\x00\x00\x00"),
        (0x82, b"\x00\x07\x00\x00\x01a\x00\x00\x01b\x01", b"\x90\x05\x00\x07\x00\x00\x00"),
        (0xC0, b"", b"\xd0\x00"),
        (0x32, b"\x00\x01a\x00\x09\x00hello", b"\x40\x02\x00\x09"),
        (0x30, b"\x00\x01a\x00hello", None),
        (0xE0, b"", None),
    ],
)
def test_what_a_client_waits_for(kind: int, body: bytes, said: bytes | None) -> None:
    assert answer_to(kind, body) == said


def test_only_results_are_answers() -> None:
    assert camera_of("a/b/gate/look/result", "a/b") == "gate"
    assert camera_of("a/b/stats", "a/b") is None
    assert camera_of("a/c/gate/look/result", "a/b") is None


def test_a_frame_has_its_time_and_its_number() -> None:
    packet = frame_packet("n/cam/frame", b"jpeg", 7)
    assert packet[0] == 0x30
    assert packet.endswith(b"jpeg")
    assert b"n/cam/frame" in packet
    assert b"\x26\x00\x03seq\x00\x017" in packet
