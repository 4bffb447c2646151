"""The parts of the MQTT source that need no network: topics, envelopes, the outbox, attempts, takeovers, pace."""

import json
import math

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.observers.metrics import slo
from edge.observers.stats import with_network_drops
from edge.sources.camera.publisher import Pace
from edge.sources.mqtt.envelope import BadEnvelope, LabelAnswer, answered, opened, sealed
from edge.sources.mqtt.outbox import Outbox, OutgoingMessage
from edge.sources.mqtt.reconnect import Attempts
from edge.sources.mqtt.settings import MqttSettings
from edge.sources.mqtt.socket_options import V5, V311
from edge.sources.mqtt.source import MqttSource, as_json
from edge.sources.mqtt.takeover import Takeovers
from edge.sources.mqtt.topics import Topics
from tests.edge.sources.inbox import KeepingInbox

NOW = 1_800_000_000.0
BYTES = st.binary(max_size=64)


def message(size: int = 100, qos: int = 0, retain: bool = False, topic: str = "t") -> OutgoingMessage:
    return OutgoingMessage(topic, bytes(size), qos, retain)


# ---- topics ----


@pytest.mark.parametrize(
    ("topic", "camera"),
    [
        ("leeway/box/gate/frame", "gate"),
        ("leeway/box/gate/truth", None),
        ("leeway/box/gate/vehicles/result", None),
        ("leeway/other/gate/frame", None),
        ("leeway/box/a/b/frame", None),
        ("leeway/box//frame", None),
        ("leeway/box/frame", None),
        ("", None),
    ],
)
def test_only_frame_topics_name_a_camera(topic, camera):
    assert Topics("leeway", "box").camera_of(topic) == camera


@given(st.text(min_size=1, max_size=20).filter(lambda name: not set("/+#\0") & set(name)))
def test_a_cameras_frame_topic_leads_back_to_it(camera):
    topics = Topics("home/leeway", "box")
    assert topics.camera_of(topics.frame(camera)) == camera


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a\0"])
def test_a_camera_name_must_fit_into_one_level(name):
    with pytest.raises(ValueError, match="topic"):
        Topics().frame(name)


# ---- settings ----


@pytest.mark.parametrize(
    "table",
    [
        {"hots": "x"},
        {"port": 0},
        {"node": "a/b"},
        {"prefix": "a/#"},
        {"prefix": ""},
        {"protocol": "4"},
        {"tls": {"cert": "a.pem"}},
        {"frame_bytes_max": 0},
        {"qos": 3},
    ],
)
def test_settings_refuse(table):
    with pytest.raises(ValidationError):
        MqttSettings(**table)


def test_the_password_is_not_printed():
    assert "secret" not in repr(MqttSettings(username="me", password="secret"))


# ---- envelopes ----


@given(BYTES, st.floats(NOW - 3600, NOW + 3600), st.integers(0, 2**40))
def test_an_envelope_gives_back_what_was_put_in(jpeg, frame_time, seq):
    payload = sealed(jpeg, {"frame_time": repr(frame_time), "seq": str(seq), "traceparent": "00-ab-cd-01"})
    frame = opened(payload, {}, NOW)
    assert (frame.payload, frame.frame_time, frame.seq) == (jpeg, frame_time, seq)
    assert frame.properties["traceparent"] == "00-ab-cd-01"
    assert not frame.bad_clock


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["frame_time", "seq", "encoding", "data", "x"])


@given(BYTES | st.dictionaries(KEYS, JSON).map(lambda t: json.dumps(t).encode()) | BYTES.map(lambda b: b"{" + b))
def test_no_payload_breaks_the_parser(payload):
    try:
        frame = opened(payload, {}, NOW)
    except BadEnvelope:
        return
    assert math.isfinite(frame.frame_time)
    assert abs(frame.frame_time - NOW) <= 86_400
    assert frame.seq is None or frame.seq >= 0


@given(st.dictionaries(KEYS, st.text(max_size=12)))
def test_no_user_property_breaks_the_parser(properties):
    assert abs(opened(b"\xff\xd8", properties, NOW).frame_time - NOW) <= 86_400


@given(BYTES | JSON.map(lambda t: json.dumps(t).encode()))
def test_no_answer_breaks_the_parser(payload):
    answer = answered(payload)
    assert answer is None or isinstance(answer.id, str)


@pytest.mark.parametrize(
    ("stated", "bad"),
    [
        (str(NOW - 5), False),
        (None, False),
        ("-1", True),
        ("0", True),
        ("nan", True),
        ("inf", True),
        ("yesterday", True),
        (str(NOW + 90_000), True),
    ],
)
def test_an_absurd_capture_time_is_replaced_by_the_arrival(stated, bad):
    frame = opened(b"\xff\xd8", {} if stated is None else {"frame_time": stated}, NOW)
    assert frame.bad_clock is bad
    assert frame.frame_time == (float(stated) if stated and not bad else NOW)


@pytest.mark.parametrize(
    "payload",
    [b"{", b"{}", b'{"data": 1}', b'{"data": "%%"}', b'{"data": "AAAA", "encoding": "h264"}', b"{" * 100_000],
)
def test_what_is_no_envelope_is_refused(payload):
    with pytest.raises(BadEnvelope):
        opened(payload, {}, NOW)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"id": "7", "label": "bus"}', LabelAnswer("7", "bus")),
        (b'{"id": 7, "label": null}', LabelAnswer("7", None)),
        (b'{"id": "7", "label": 3}', None),
        (b'{"label": "bus"}', None),
        (b"bus", None),
    ],
)
def test_answers(payload, expected):
    assert answered(payload) == expected


def test_json_takes_numpy_numbers():
    import numpy as np

    assert json.loads(as_json({"a": np.float32(0.5), "b": np.arange(2)})) == {"a": 0.5, "b": [0, 1]}


# ---- outbox ----


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "release", "back", "stale"]), st.integers(0, 2000))))
def test_the_outbox_never_holds_more_than_its_bound_and_counts_right(steps):
    box, taken = Outbox(4096), []
    waiting = 0
    for step, size in steps:
        if step == "put":
            waiting += box.put(message(size, qos=size % 2))
        elif step == "take" and (one := box.take()):
            taken.append(one)
            waiting -= 1
        elif step == "release" and taken:
            box.release(taken.pop())
        elif step == "back":
            box.back(taken)
            waiting, taken = waiting + len(taken), []
        elif step == "stale":
            waiting -= box.forget_stale()
        assert len(box) == waiting
        assert 0 <= box.bytes <= box.bytes_max
        assert bool(box.bytes) == bool(waiting or taken)


def test_what_came_back_goes_out_first_and_in_order():
    box = Outbox(10_000)
    for topic in "abc":
        box.put(message(topic=topic, qos=1))
    box.back([box.take(), box.take()])
    assert [box.take().topic for _ in range(3)] == ["a", "b", "c"]


def test_retained_and_qos0_messages_do_not_outlive_a_connection():
    box = Outbox(10_000)
    for one in (message(qos=0), message(qos=1, retain=True, topic="state"), message(qos=1, topic="kept")):
        box.put(one)
    assert box.forget_stale() == 1  # the retained one is published anew, so it is no loss
    assert box.take().topic == "kept"


# ---- attempts and takeovers ----


@pytest.mark.parametrize("how", ["protocol", "silent"])
def test_auto_falls_back_at_once_and_tries_mqtt_5_again_after_the_connection(how):
    attempts = Attempts("auto", 2.0)
    assert attempts.next_protocol() == V5
    assert attempts.refused(how)
    assert attempts.next_protocol() == V311
    attempts.lost(100.0)
    assert attempts.next_protocol() == V5


def test_auto_alternates_when_nothing_but_silence_comes_back():
    attempts = Attempts("auto", 2.0)
    spoken = []
    for _ in range(4):
        spoken.append(attempts.next_protocol())
        attempts.refused("silent")
    assert spoken == [V5, V311, V5, V311]


def test_one_hang_up_is_a_broker_that_starts_two_are_an_old_one():
    attempts = Attempts("auto", 2.0)
    assert not attempts.refused("hung up")
    assert attempts.next_protocol() == V5
    attempts.refused("hung up")
    assert attempts.next_protocol() == V311


@pytest.mark.parametrize(("wanted", "spoken"), [("5", V5), ("3.1.1", V311)])
def test_a_protocol_that_was_asked_for_stays(wanted, spoken):
    attempts = Attempts(wanted, 2.0)
    assert not attempts.refused("protocol")
    assert attempts.next_protocol() == spoken


def test_pauses_grow_to_the_bound_and_start_small_after_a_steady_connection():
    attempts = Attempts("auto", 2.0)
    assert [attempts.pause_s() for _ in range(6)] == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    attempts.lost(lived_s=1.0)
    assert attempts.pause_s() == 2.0  # flapping keeps its pause
    attempts.lost(lived_s=60.0)
    assert attempts.pause_s() == pytest.approx(0.2)


def test_three_short_lives_in_a_minute_look_like_a_takeover():
    takeovers = Takeovers()
    assert [takeovers.lost(t, 1.0, told=False) for t in (0.0, 3.0, 6.0)] == [False, False, True]
    assert not takeovers.lost(500.0, 1.0, told=False)
    assert not takeovers.lost(501.0, 400.0, told=False)


def test_a_takeover_is_said_at_most_once_a_minute():
    takeovers = Takeovers()
    assert takeovers.lost(0.0, 1000.0, told=True)
    assert [takeovers.worth_saying(t) for t in (0.0, 5.0, 59.0, 61.0)] == [True, False, False, True]


# ---- pace ----


@given(st.lists(st.floats(0.0, 3.0), max_size=50))
def test_ticks_never_drift_and_all_are_published_or_skipped(delays):
    pace, now, skipped = Pace(0.1, 0.0), 0.0, 0
    for done, delay in enumerate(delays, 1):
        skipped += pace.skip(now)
        now += pace.wait_s(now)
        assert now >= pace.tick * 0.1 - 1e-9
        assert now < (pace.tick + 1) * 0.1 + 1e-6  # never a whole period late
        now += delay
        pace.tick += 1
        assert done + skipped == pace.tick


def message_on(topic: str, payload: bytes) -> paho.MQTTMessage:
    message = paho.MQTTMessage(topic=topic.encode())
    message.payload = payload
    return message


def test_every_message_is_in_one_counter_and_labels_are_not_frames() -> None:
    def fails(answer: object) -> None:
        raise ValueError("a bug over there")

    taken = iter([True, False])
    source = MqttSource()
    source._inbox = KeepingInbox(lambda frame: next(taken), fails)
    for topic, payload in (("gate/frame", b"jpeg"),) * 2 + (("label/answer", b'{"id": "a", "label": "red"}'),):
        source._take(message_on(f"leeway/box/{topic}", payload))
    counted = {name: n for name, n in source.counters.items() if n}
    assert counted == {"received": 1, "after_end": 1, "undeliverable_answers": 1}
    frames = {"frames": {"in": 1, "answered": 1, "dropped": {}, "waiting": 0}, "slo": slo(1, 1)}
    table = with_network_drops(frames, source.counters)
    assert table["frames"] == {"in": 2, "answered": 1, "dropped": {"after_end": 1}, "waiting": 0}
