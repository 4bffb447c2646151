"""Brings frames in and results out over MQTT.

The network thread stamps, checks and hands on; it never decodes or waits.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import paho.mqtt.client as paho

from edge.data.frame import Frame
from edge.plugins import checked
from edge.sources.mqtt.connection import Link
from edge.sources.mqtt.counters import Counters
from edge.sources.mqtt.envelope import BadEnvelope, answered, opened
from edge.sources.mqtt.outbox import OutgoingMessage
from edge.sources.mqtt.settings import MqttSettings
from edge.sources.source import USUAL, Delivery, Inbox, Value

ANSWER_BYTES_MAX = 65_536
CAMERAS_MAX = 1_024  # whose sequence numbers are remembered
GAP_MAX = 1_000_000  # a larger jump of the sequence number is a new sequence

COUNTERS = (
    "received",  # frames handed on; every message that came in is this, one of the next seven, or about labels
    "too_large",
    "wrong_topic",
    "bad_envelope",
    "empty",
    "stale_retained",
    "undeliverable",
    "after_end",  # the daemon had ended, and was not disconnected yet
    "missing",  # sequence numbers that never came: lost on the way, or dropped by the broker
    "bad_clock",  # capture times replaced by the arrival time
    "answers",
    "bad_answers",
    "undeliverable_answers",
    "connects",
    "reconnects",
    "disconnects",
    "takeovers",
    "refused",
    "fall_backs",
    "subscriptions_refused",
    "sent",
    "dropped_disconnected",
    "dropped_backlog",
    "dropped_oversize",
)

log = logging.getLogger("leeway.mqtt")


class MqttSource:
    """Serves one MQTT broker. Options: those of `MqttSettings`; raises `ValueError` or `UserError` for wrong ones.

    Subscribes to `<prefix>/<node>/+/frame`, and to `<prefix>/<node>/label/answer` where the daemon uses labels, only.
    `clock` gives integer nanoseconds (monotonic), `wall` unix seconds; `say` gets lines for people.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], float] = time.time,
        say: Callable[[str], None] = log.warning,
        **options: Any,
    ) -> None:
        self.settings = settings = checked(MqttSettings, options)
        self.topics = topics = settings.topics
        self._clock, self._wall = clock, wall
        self._counters = Counters(*COUNTERS)
        self._last_seq: dict[str, int] = {}
        self._inbox: Inbox | None = None
        self.link = Link(
            settings,
            subscriptions=(topics.all_frames,),
            on_message=self._take,
            births=(OutgoingMessage(topics.available, b"online", qos=1, retain=True),),
            will=OutgoingMessage(topics.available, b"offline", qos=1, retain=True),
            farewell=OutgoingMessage(topics.available, b"stopped", qos=1, retain=True),
            # The envelope is a third larger than its frame; a packet beyond that the broker may keep to itself.
            packet_bytes_max=settings.frame_bytes_max * 4 // 3 + 65_536,
            counters=self._counters,
            say=say,
        )

    def start(self, inbox: Inbox) -> None:
        """Connects, and goes on trying where there is no broker. Frames reach `inbox` on the network thread."""
        self._inbox = inbox
        if inbox.hears_labels:
            self.link.subscribe(self.topics.label_answer)
        self.link.start()

    def stop(self) -> None:
        """Sends what waits, says `stopped`, disconnects. Takes at most some seconds."""
        self.link.stop()

    def __str__(self) -> str:
        return f"frames are awaited on {self.topics.frame('CAMERA')} at {self.settings.host}:{self.settings.port}"

    @property
    def connected(self) -> bool:
        """Returns whether the broker has accepted us and our subscriptions."""
        return self.link.connected

    @property
    def protocol(self) -> str | None:
        """Returns the version of MQTT in use, "5" or "3.1.1"; None without a connection."""
        return self.link.protocol

    def wait_connected(self, timeout_s: float) -> bool:
        """Waits for a connection; returns whether there is one."""
        return self.link.wait_connected(timeout_s)

    @property
    def counters(self) -> dict[str, int]:
        """Returns every counter of `COUNTERS`."""
        counts = self._counters.snapshot()
        return {**counts, "reconnects": max(0, counts["connects"] - 1)}

    # ---- out ---------------------------------------------------------------------------------------------------

    def publish(self, topic: str, value: Value, delivery: Delivery = USUAL) -> bool:
        """Publishes under `<prefix>/<node>/`: QoS 1 where the delivery is to be confirmed, else QoS 0.

        Returns False where the message was dropped; it is counted (`dropped_*`).
        """
        is_bytes = isinstance(value, bytes)
        return self.link.publish(
            OutgoingMessage(
                self.topics.under(topic),
                value if isinstance(value, bytes) else as_json(value),
                qos=1 if delivery.confirmed else 0,
                retain=delivery.retain,
                user=delivery.headers,
                content_type=delivery.content_type if is_bytes else "application/json",
                expiry_s=delivery.expiry_s,
                wrap=is_bytes and bool(delivery.headers),
            )
        )

    # ---- in: the network thread --------------------------------------------------------------------------------

    def _take(self, message: paho.MQTTMessage) -> None:
        received_ns, received_time = self._clock(), self._wall()
        outcome = self._judge(message, received_ns, received_time)
        self._counters.add(outcome)

    def _judge(self, message: paho.MQTTMessage, received_ns: int, received_time: float) -> str:
        """Hands the message on; returns the name of the counter that it belongs to."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return "wrong_topic"
        assert self._inbox is not None
        if topic == self.topics.label_answer and self._inbox.hears_labels:
            return self._judge_answer(bytes(message.payload))
        camera = self.topics.camera_of(topic)
        if camera is None:
            return "wrong_topic"
        if message.retain:
            return "stale_retained"
        if not message.payload:
            return "empty"
        frame = self._frame(camera, message, received_ns, received_time)
        return frame if isinstance(frame, str) else self._hand_on(frame)

    def _frame(self, camera: str, message: paho.MQTTMessage, received_ns: int, received_time: float) -> Frame | str:
        limit = self.settings.frame_bytes_max
        if len(message.payload) > limit * 4 // 3 + 65_536:  # not even an envelope, so it need not be opened
            return "too_large"
        try:
            frame = opened(bytes(message.payload), user_properties(message), received_time)
        except BadEnvelope:
            return "bad_envelope"
        if len(frame.payload) > limit:
            return "too_large"
        if not frame.payload:
            return "empty"
        if frame.bad_clock:
            self._counters.add("bad_clock")
        self._note_gap(camera, frame.seq)
        return Frame(camera, frame.payload, received_ns, received_time, frame.frame_time, frame.seq, frame.properties)

    def _note_gap(self, camera: str, seq: int | None) -> None:
        if seq is None or (camera not in self._last_seq and len(self._last_seq) >= CAMERAS_MAX):
            return
        gap = seq - self._last_seq.get(camera, seq) - 1
        if 0 < gap < GAP_MAX:
            self._counters.add("missing", gap)
        self._last_seq[camera] = seq

    def _hand_on(self, frame: Frame) -> str:
        assert self._inbox is not None
        try:
            taken = self._inbox.receive(frame)
        except Exception:  # a bug over there must not end the network thread; it is logged whole
            log.exception("the frame of camera %s could not be handed on", frame.camera)
            return "undeliverable"
        return "received" if taken else "after_end"

    def _judge_answer(self, payload: bytes) -> str:
        answer = answered(payload) if len(payload) <= ANSWER_BYTES_MAX else None
        if answer is None:
            return "bad_answers"
        assert self._inbox is not None
        try:
            self._inbox.answer(answer.id, answer.label)
        except Exception:
            log.exception("the answer %s could not be handed on", answer.id)
            return "undeliverable_answers"
        return "answers"


def user_properties(message: paho.MQTTMessage) -> dict[str, str]:
    """Returns the MQTT 5 user properties of a message; empty on 3.1.1."""
    return dict(getattr(message.properties, "UserProperty", ()) if message.properties is not None else ())


def as_json(table: Mapping[str, Any]) -> bytes:
    """Returns a table as compact JSON; NumPy numbers and arrays are written as the numbers they are."""
    return _encode(table).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON message")


_encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode  # once: `json.dumps` makes one per message
