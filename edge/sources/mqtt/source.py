"""Frames in, results out, over MQTT. The network thread stamps, checks and hands on; it never decodes or waits."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import paho.mqtt.client as paho

from edge.data.frame import Frame
from edge.sources.mqtt.connection import Link
from edge.sources.mqtt.counters import Counters
from edge.sources.mqtt.envelope import BadEnvelope, LabelAnswer, answered, opened
from edge.sources.mqtt.outbox import OutgoingMessage
from edge.sources.mqtt.settings import MqttSettings

ANSWER_BYTES_MAX = 65_536
CAMERAS_MAX = 1_024  # whose sequence numbers are remembered
GAP_MAX = 1_000_000  # a larger jump of the sequence number is a new sequence
LABEL_EXPIRY_S = 3_600

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
    """The daemon's side of MQTT. `on_frame` and `on_answer` run on the network thread: be quick and do not raise.
    `on_frame` says False where it takes no frames any more.

    Subscribes to `<prefix>/<node>/+/frame`, and to `<prefix>/<node>/label/answer` where `on_answer` is given, only.
    `clock` gives integer nanoseconds (monotonic), `wall` unix seconds.
    """

    def __init__(
        self,
        settings: MqttSettings,
        on_frame: Callable[[Frame], bool],
        on_answer: Callable[[LabelAnswer], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        *,
        wall: Callable[[], float] = time.time,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self.settings = settings
        self.topics = topics = settings.topics
        self._on_frame, self._on_answer = on_frame, on_answer
        self._clock, self._wall = clock, wall
        self._counters = Counters(*COUNTERS)
        self._last_seq: dict[str, int] = {}
        self.link = Link(
            settings,
            subscriptions=(topics.all_frames, *((topics.label_answer,) if on_answer else ())),
            on_message=self._take,
            births=(OutgoingMessage(topics.available, b"online", qos=1, retain=True),),
            will=OutgoingMessage(topics.available, b"offline", qos=1, retain=True),
            farewell=OutgoingMessage(topics.available, b"stopped", qos=1, retain=True),
            # The envelope is a third larger than its frame; a packet beyond that the broker may keep to itself.
            packet_bytes_max=settings.frame_bytes_max * 4 // 3 + 65_536,
            counters=self._counters,
            say=say,
        )

    def start(self) -> None:
        self.link.start()

    def stop(self) -> None:
        """Send what waits, say `stopped`, disconnect. Takes at most some seconds."""
        self.link.stop()

    @property
    def connected(self) -> bool:
        return self.link.connected

    @property
    def protocol(self) -> str | None:
        return self.link.protocol

    def wait_connected(self, timeout_s: float) -> bool:
        return self.link.wait_connected(timeout_s)

    @property
    def counters(self) -> dict[str, int]:
        counts = self._counters.snapshot()
        return {**counts, "reconnects": max(0, counts["connects"] - 1)}

    # ---- out ---------------------------------------------------------------------------------------------------

    def publish_result(self, camera: str, app: str, result: Mapping[str, Any], traceparent: str | None = None) -> bool:
        """One result (see docs): QoS 0, not retained. False: dropped and counted (`dropped_*`)."""
        user = {"traceparent": traceparent} if traceparent else {}
        topic = self.topics.result(camera, app)
        return self.link.publish(
            OutgoingMessage(topic, as_json({**result, **user}), user=user, content_type="application/json")
        )

    def publish(
        self, topic_suffix: str, payload: bytes | str | Mapping[str, Any], retain: bool = False, qos: int = 0
    ) -> bool:
        """Publish under `<prefix>/<node>/`; a mapping goes out as JSON. False: dropped and counted (`dropped_*`)."""
        body = (
            payload
            if isinstance(payload, bytes)
            else payload.encode()
            if isinstance(payload, str)
            else as_json(payload)
        )
        kind = "application/json" if isinstance(payload, Mapping) else None
        return self.link.publish(OutgoingMessage(self.topics.under(topic_suffix), body, qos, retain, content_type=kind))

    def ask_label(self, id: str, model: str, jpeg: bytes, about: Mapping[str, str] = {}) -> bool:
        """Ask the operators what `jpeg` shows; `on_answer` gets the answer with the same id. `about`: camera, seq, …"""
        user = {"id": id, "model": model, **about}
        return self.link.publish(
            OutgoingMessage(
                self.topics.label_request,
                jpeg,
                qos=1,
                user=user,
                content_type="image/jpeg",
                expiry_s=LABEL_EXPIRY_S,
                wrap=True,
            )
        )

    # ---- in: the network thread --------------------------------------------------------------------------------

    def _take(self, message: paho.MQTTMessage) -> None:
        received_ns, received_time = self._clock(), self._wall()
        outcome = self._judge(message, received_ns, received_time)
        self._counters.add(outcome)

    def _judge(self, message: paho.MQTTMessage, received_ns: int, received_time: float) -> str:
        """Hand the message on; the counter it belongs to."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return "wrong_topic"
        if topic == self.topics.label_answer and self._on_answer is not None:
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
        try:
            taken = self._on_frame(frame)
        except Exception:  # a bug over there must not end the network thread; it is logged whole
            log.exception("the frame of camera %s could not be handed on", frame.camera)
            return "undeliverable"
        return "received" if taken else "after_end"

    def _judge_answer(self, payload: bytes) -> str:
        answer = answered(payload) if len(payload) <= ANSWER_BYTES_MAX else None
        if answer is None:
            return "bad_answers"
        assert self._on_answer is not None
        try:
            self._on_answer(answer)
        except Exception:
            log.exception("the answer %s could not be handed on", answer.id)
            return "undeliverable_answers"
        return "answers"


def user_properties(message: paho.MQTTMessage) -> dict[str, str]:
    """The MQTT 5 user properties of a message; empty on 3.1.1."""
    return dict(getattr(message.properties, "UserProperty", ()) if message.properties is not None else ())


def as_json(table: Mapping[str, Any]) -> bytes:
    """Compact JSON; numpy numbers and arrays are written as the numbers they are."""
    return _encode(table).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON message")


_encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode  # once: `json.dumps` makes one per message
