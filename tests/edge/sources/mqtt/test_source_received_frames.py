"""What becomes of a frame message: handed on, or counted with the reason why not. No network."""

from collections.abc import Iterable
from typing import Any

import paho.mqtt.client as paho
import pytest

from edge.sources.mqtt import source as module
from edge.sources.mqtt.envelope import sealed
from edge.sources.mqtt.source import MqttSource
from tests.edge.sources.inbox import KeepingInbox

LIMIT = 3072
NOW_NS, NOW_S = 5_000, 1_800_000_000.0


class Received:
    """A source without a broker: what it hands on, and what it counts."""

    def __init__(self, **settings: Any) -> None:
        inbox = KeepingInbox()
        self.frames = inbox.frames
        self.source = MqttSource(clock=lambda: NOW_NS, wall=lambda: NOW_S, **settings)
        self.source._inbox = inbox  # as `start` does, which would connect

    def send(self, payload: bytes, camera: str = "gate", retain: bool = False) -> None:
        message = paho.MQTTMessage(topic=f"leeway/box/{camera}/frame".encode())
        message.payload, message.retain = payload, retain
        self.source._take(message)

    def send_numbered(self, numbers: Iterable[int], camera: str = "gate") -> None:
        for number in numbers:
            self.send(sealed(b"jpeg", {"seq": str(number)}), camera)

    @property
    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.source.counters.items() if count}


def test_a_frame_is_handed_on_with_its_stamps() -> None:
    received = Received()
    received.send(sealed(b"jpeg", {"seq": "7", "frame_time": str(NOW_S - 2), "traceparent": "00-a-b-01"}))
    received.send(b"raw")
    first, second = received.frames
    assert (first.camera, first.payload, first.seq, first.frame_time) == ("gate", b"jpeg", 7, NOW_S - 2)
    assert first.properties["traceparent"] == "00-a-b-01"
    assert (second.payload, second.seq, second.frame_time) == (b"raw", None, NOW_S)
    assert {(frame.received_ns, frame.received_time) for frame in received.frames} == {(NOW_NS, NOW_S)}
    assert received.counted == {"received": 2}


def test_a_retained_frame_is_of_an_unknown_age_and_not_taken() -> None:
    received = Received()
    received.send(b"jpeg", retain=True)
    assert received.frames == []
    assert received.counted == {"stale_retained": 1}


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_limit_is_on_the_frame_whether_in_an_envelope_or_raw(wrapped: bool) -> None:
    received = Received(frame_bytes_max=LIMIT)
    for size in (LIMIT, LIMIT + 1):
        received.send(sealed(bytes(size), {}) if wrapped else bytes(size))
    assert [len(frame.payload) for frame in received.frames] == [LIMIT]
    assert received.counted == {"received": 1, "too_large": 1}


def test_an_envelope_far_larger_than_a_frame_may_be_is_not_opened() -> None:
    received = Received(frame_bytes_max=LIMIT)
    allowed = LIMIT * 4 // 3 + 65_536
    received.send(b"{" * allowed)
    received.send(b"{" * (allowed + 1))
    assert received.counted == {"bad_envelope": 1, "too_large": 1}


@pytest.mark.parametrize("payload", [b"", sealed(b"", {})])
def test_an_empty_frame_is_counted(payload: bytes) -> None:
    received = Received()
    received.send(payload)
    assert received.counted == {"empty": 1}


def test_a_broken_clock_is_counted_and_the_frame_taken() -> None:
    received = Received()
    received.send(sealed(b"jpeg", {"frame_time": "7"}))
    assert received.counted == {"received": 1, "bad_clock": 1}
    assert received.frames[0].frame_time == NOW_S


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((3, 4, 5), 0),  # the first one is where a sequence begins
        ((3, 5), 1),
        ((3, 7, 9), 4),
        ((3, 3), 0),
        ((7, 5, 6), 0),  # out of order, or begun again
        ((7, 2, 5), 2),  # counted from where it began again
        ((0, module.GAP_MAX), module.GAP_MAX - 1),
        ((0, module.GAP_MAX + 1), 0),  # a new sequence, and not a million frames lost
        ((0, module.GAP_MAX + 1, module.GAP_MAX + 3), 1),
    ],
)
def test_jumps_of_the_sequence_number_are_frames_that_never_came(numbers: tuple[int, ...], missing: int) -> None:
    received = Received()
    received.send_numbered(numbers)
    assert received.counted.get("missing", 0) == missing
    assert received.counted["received"] == len(numbers)


def test_each_camera_has_a_sequence_of_its_own_and_frames_may_come_without() -> None:
    received = Received()
    received.send_numbered([1], "a")
    received.send_numbered([50], "b")
    received.send(b"raw", "a")
    received.send_numbered([3], "a")
    assert received.counted == {"received": 4, "missing": 1}


def test_names_of_cameras_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names can be made up by any client. A camera beyond the limit is served, but what it lost is not counted."""
    monkeypatch.setattr(module, "CAMERAS_MAX", 2)
    received = Received()
    for camera in "abc":
        received.send_numbered([1, 5], camera)
    assert received.counted == {"received": 6, "missing": 3 + 3}
    assert len(received.source._last_seq) == 2
    received.send_numbered([7], "a")  # a known camera stays known
    assert received.counted["missing"] == 3 + 3 + 1
