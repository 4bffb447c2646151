"""The MQTT source against real brokers: Mosquitto (MQTT 5), and amqtt, which speaks 3.1.1 only."""

import json
import socket
import threading
import uuid
from contextlib import ExitStack, contextmanager

import paho.mqtt.client as paho
import pytest

from edge.sources.mqtt.broker import EmbeddedBroker, free_port
from edge.sources.mqtt.connection import Link
from edge.sources.mqtt.outbox import OutgoingMessage
from edge.sources.mqtt.source import MqttSettings, MqttSource
from edge.sources.source import LABEL_REQUEST, Delivery
from porting.errors import UserError
from tests.edge.sources.inbox import KeepingInbox

JPEG = b"\xff\xd8 not looked at \xff\xd9"
QUESTION = Delivery(confirmed=True, headers={"id": "17", "model": "vehicles"}, content_type="image/jpeg", expiry_s=60)
OUTCOMES = ("received", "too_large", "wrong_topic", "bad_envelope", "empty", "stale_retained", "undeliverable")


@pytest.fixture(scope="module")
def amqtt_port():
    with EmbeddedBroker() as broker:
        yield broker.port


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.broker), "amqtt"])
def port(request):
    if request.param == "amqtt":
        return request.getfixturevalue("amqtt_port")
    return request.getfixturevalue("mosquitto").port


@pytest.fixture
def rig(request):
    """Starts sources and links with a node of their own, and stops them."""
    with ExitStack() as stack:
        yield Rig(stack, node=f"n{abs(hash(request.node.nodeid)) % 10**8}")


class Rig:
    def __init__(self, stack, node):
        self.stack, self.node, self.frames, self.answers, self.lines = stack, node, [], [], []

    def keep(self, frame):
        self.frames.append(frame)
        return True

    def settings(self, port, **more):
        return MqttSettings(**{"port": port, "node": self.node, "reconnect_max_s": 0.5, **more})

    def source(self, port, *, on_frame=None, on_answer=None, **more):
        source = MqttSource(**dict(self.settings(port, **more)), say=self.lines.append)
        source.start(KeepingInbox(on_frame or self.keep, on_answer))
        self.stack.callback(source.stop)
        return source

    def link(self, port, client_id, **more):
        link = Link(self.settings(port, client_id=f"{client_id}-{self.node}", **more), say=self.lines.append)
        link.start()
        self.stack.callback(link.stop)
        assert link.wait_connected(10)
        return link

    def listener(self, port, suffix):
        """Messages (topic, payload, retain) under the node, as a plain 3.1.1 client sees them."""
        heard, ready, wanted = [], threading.Event(), f"leeway/{self.node}/{suffix}"

        def hear(_, __, message):  # amqtt now and then sends a retained message of another topic
            if paho.topic_matches_sub(wanted, message.topic):
                heard.append((message.topic, bytes(message.payload), message.retain))

        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"listener-{uuid.uuid4().hex[:8]}")
        client.on_message = hear
        client.on_subscribe = lambda *_: ready.set()
        client.connect("127.0.0.1", port)
        client.subscribe(wanted, 1)
        client.loop_start()
        self.stack.callback(client.loop_stop)
        self.stack.callback(client.disconnect)
        assert ready.wait(10)
        return heard


def frame(rig, payload=JPEG, camera="gate", suffix="frame", **more):
    return OutgoingMessage(f"leeway/{rig.node}/{camera}/{suffix}", payload, wrap=True, **more)


def add_up(source, sent):
    return sum(source.counters[name] for name in OUTCOMES) == sent


def test_a_frame_goes_in_and_a_result_comes_out(port, rig, eventually):
    source = rig.source(port)
    assert source.wait_connected(10)
    camera, heard = rig.link(port, "camera"), rig.listener(port, "+/+/result")
    said = {"frame_time": "1700000000.25", "seq": "41", "traceparent": "00-aa-bb-01"}
    source._wall = lambda: 1_700_000_001.0
    camera.publish(frame(rig, user=said, expiry_s=5, content_type="image/jpeg"))
    assert eventually(lambda: rig.frames)
    got = rig.frames[0]
    assert (got.camera, got.payload, got.frame_time, got.seq) == ("gate", JPEG, 1_700_000_000.25, 41)
    assert got.received_time == 1_700_000_001.0
    assert source.publish("gate/vehicles/result", {"id": "1"}, Delivery(headers={"traceparent": got.traceparent}))
    assert eventually(lambda: heard)
    topic, payload, _ = heard[0]
    assert topic == f"leeway/{rig.node}/gate/vehicles/result"
    assert json.loads(payload) == {"id": "1"}


@pytest.mark.broker
def test_mosquitto_is_spoken_to_in_mqtt_5(mosquitto, rig):
    source = rig.source(mosquitto.port)
    assert source.wait_connected(10)
    assert source.protocol == "5"


def test_a_broker_that_refuses_mqtt_5_gets_3_1_1(amqtt_port, rig):
    source = rig.source(amqtt_port)
    assert source.wait_connected(10)
    assert source.protocol == "3.1.1"
    assert source.counters["fall_backs"] == 1
    assert rig.lines == []  # nothing worth a person's attention


def test_a_raw_jpeg_without_metadata_counts_from_its_arrival(port, rig, eventually):
    source = rig.source(port)
    assert source.wait_connected(10)
    plain = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"plain-{rig.node}")
    plain.connect("127.0.0.1", port)
    plain.publish(f"leeway/{rig.node}/gate/frame", JPEG)
    plain.loop_start()
    rig.stack.callback(plain.loop_stop)
    assert eventually(lambda: rig.frames)
    assert rig.frames[0].frame_time == rig.frames[0].received_time
    assert rig.frames[0].seq is None


def test_the_ground_truth_never_reaches_the_daemon(port, rig, eventually):
    source = rig.source(port, on_answer=rig.answers.append)
    assert source.wait_connected(10)
    camera, witness = rig.link(port, "camera"), rig.listener(port, "gate/truth")
    for seq in range(5):
        camera.publish(frame(rig, b'{"label": "bus"}', suffix="truth", qos=1))
        camera.publish(frame(rig, user={"seq": str(seq)}))
    assert eventually(lambda: len(rig.frames) == 5 and len(witness) == 5)  # it was published, and others got it
    assert {f.payload for f in rig.frames} == {JPEG}
    assert add_up(source, 5)  # not even refused: it never came in
    assert source.counters["wrong_topic"] == 0


@pytest.mark.broker
def test_the_broker_knows_of_two_subscriptions_at_most(mosquitto, rig, eventually):
    source = rig.source(mosquitto.port, on_answer=rig.answers.append)
    assert source.wait_connected(10)

    def subscribed():  # "leeway-node 0 leeway/node/+/frame" lines, written by Mosquitto
        lines = mosquitto.log.read_text().splitlines()
        return {line.split()[-1] for line in lines if f" leeway-{rig.node} 0 " in line}

    assert eventually(subscribed)
    assert subscribed() == {f"leeway/{rig.node}/+/frame", f"leeway/{rig.node}/label/answer"}


def test_operators_are_asked_and_answer(port, rig, eventually):
    source = rig.source(port, on_answer=rig.answers.append)
    assert source.wait_connected(10)
    operator, asked = rig.link(port, "operator"), rig.listener(port, "label/request")
    assert source.publish(LABEL_REQUEST, JPEG, QUESTION)
    assert eventually(lambda: asked)
    operator.publish(OutgoingMessage(source.topics.label_answer, b'{"id": "17", "label": "bus"}', qos=1))
    operator.publish(OutgoingMessage(source.topics.label_answer, b"bus", qos=1))
    assert eventually(lambda: source.counters["bad_answers"] == 1 and rig.answers)
    assert rig.answers == [("17", "bus")]


def test_bad_messages_are_counted_and_good_ones_still_flow(port, rig, eventually):
    source = rig.source(port)
    assert source.wait_connected(10)
    camera = rig.link(port, "camera", protocol="auto")
    bad = [b"", b"{", b'{"data": "%"}', b'{"data": ""}']
    for payload in bad:
        camera.publish(OutgoingMessage(f"leeway/{rig.node}/gate/frame", payload))
    camera.publish(frame(rig, user={"frame_time": "-5"}))
    assert eventually(lambda: rig.frames)
    assert add_up(source, len(bad) + 1)
    counted = {name: n for name, n in source.counters.items() if n and name in (*OUTCOMES, "bad_clock")}
    assert counted == {"empty": 2, "bad_envelope": 2, "received": 1, "bad_clock": 1}


@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
@pytest.mark.broker
def test_a_payload_of_50_mb_is_not_served_and_hurts_nobody(mosquitto, rig, eventually, protocol):
    source = rig.source(mosquitto.port, protocol=protocol)
    assert source.wait_connected(10)
    camera = rig.link(mosquitto.port, "camera", outgoing_bytes_max=64 * 1024 * 1024)
    for seq, payload in enumerate((JPEG, bytes(50_000_000), JPEG)):
        camera.publish(frame(rig, payload, user={"seq": str(seq)}))
    assert eventually(lambda: len(rig.frames) == 2, 20)
    assert source.counters["connects"] == 1
    # MQTT 5: the broker keeps it to itself, and the gap in the numbers tells; 3.1.1: it comes in, and is refused here
    expected = {"auto": ("missing", 1), "3.1.1": ("too_large", 1)}[protocol]
    assert source.counters[expected[0]] == expected[1]


def test_a_handler_that_fails_does_not_end_the_stream(port, rig, eventually, caplog):
    def fails_once(got):
        rig.frames.append(got)
        if len(rig.frames) == 1:
            raise ValueError("a bug over there")
        return True

    source = rig.source(port, on_frame=fails_once)
    assert source.wait_connected(10)
    camera = rig.link(port, "camera")
    for _ in range(2):
        camera.publish(frame(rig))
    assert eventually(lambda: len(rig.frames) == 2)
    assert eventually(lambda: add_up(source, 2))
    assert source.counters["undeliverable"] == 1
    assert "a bug over there" in caplog.text


def test_availability_says_online_and_stopped(port, rig, eventually):
    heard = rig.listener(port, "available")
    source = rig.source(port)
    assert source.wait_connected(10)
    assert eventually(lambda: [p for _, p, _ in heard] == [b"online"])
    source.stop()
    assert eventually(lambda: [p for _, p, _ in heard] == [b"online", b"stopped"])
    later = rig.listener(port, "available")
    assert eventually(lambda: later)
    assert later[0][1:] == (b"stopped", True)  # retained: who comes later knows as well


def test_the_broker_says_offline_when_the_daemon_vanishes(port, rig, eventually):
    heard = rig.listener(port, "available")
    source = rig.source(port)
    assert source.wait_connected(10)
    assert eventually(lambda: heard)
    source.link._client.socket().shutdown(socket.SHUT_RDWR)  # the network is gone, without a word
    assert eventually(lambda: [p for _, p, _ in heard] == [b"online", b"offline", b"online"]), heard
    assert eventually(lambda: source.counters["reconnects"] == 1)


@pytest.mark.broker
def test_frames_flow_again_within_5_s_after_the_broker_restarts(mosquitto, rig, eventually):
    source, camera = rig.source(mosquitto.port), rig.link(mosquitto.port, "camera")
    assert source.wait_connected(10)
    source.publish("stats", {"n": 1}, Delivery(retain=True, confirmed=True))
    published = []

    def flows():
        published.append(camera.publish(frame(rig, user={"seq": str(len(published))})))
        return eventually(lambda: rig.frames, 0.05)

    assert eventually(flows)
    mosquitto.stop()
    assert eventually(lambda: not source.connected and not camera.connected)
    rig.frames.clear()
    assert not camera.publish(frame(rig))
    assert not source.publish("gate/vehicles/result", {})
    mosquitto.start()
    assert eventually(flows, 5.0)
    assert source.counters["dropped_disconnected"] == 1
    assert source.counters["takeovers"] == 0
    heard = rig.listener(mosquitto.port, "stats")
    assert eventually(lambda: heard)  # what it had forgotten was told anew


def test_the_daemon_may_start_before_the_broker(rig, eventually):
    port = free_port()
    source = rig.source(port)
    assert eventually(lambda: rig.lines)
    assert f"no MQTT broker at 127.0.0.1:{port}" in rig.lines[0]
    with EmbeddedBroker(port):
        assert source.wait_connected(10)
        assert len(rig.lines) == 1  # said once, not at every attempt
        source.stop()


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_two_daemons_with_one_client_id_are_told_so(mosquitto, rig, eventually, protocol):
    one = rig.source(mosquitto.port, protocol=protocol)
    two = rig.source(mosquitto.port, protocol=protocol)
    assert eventually(lambda: one.counters["takeovers"] + two.counters["takeovers"] >= 2, 20)
    told = [line for line in rig.lines if "client id" in line]
    assert told
    assert f"leeway-{rig.node}" in told[0]
    assert len(told) <= 2  # each daemon once


class Deaf:
    """Accepts MQTT connections and then never reads again, as a peer on a broken network does."""

    def __init__(self, properties=b""):
        self.properties = properties  # of its CONNACK
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port = self.server.getsockname()[1]
        self.peers = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                peer, _ = self.server.accept()
                peer.recv(1000)
                size = len(self.properties)
                peer.sendall(bytes([0x20, 3 + size, 0, 0, size]) + self.properties)
                self.peers.append(peer)
        except OSError:
            return

    def close(self):
        for one in (self.server, *self.peers):
            one.close()


def test_what_waits_for_a_deaf_broker_is_bounded(rig):
    deaf = Deaf()
    rig.stack.callback(deaf.close)
    link = rig.link(deaf.port, "camera", outgoing_bytes_max=1_000_000, protocol="5")
    accepted = sum(link.publish(OutgoingMessage("t", bytes(100_000))) for _ in range(300))
    assert link.outbox.bytes <= 1_000_000
    assert link.counters["dropped_backlog"] == 300 - accepted
    assert accepted < 200


def test_what_the_broker_would_hang_up_on_is_not_sent(rig, eventually):
    small = Deaf(properties=b"\x27" + (2_000).to_bytes(4, "big"))  # maximum packet size, as Mosquitto 2.1 states one
    rig.stack.callback(small.close)
    link = rig.link(small.port, "camera", protocol="5")
    for size in (100, 5_000, 100):
        link.publish(OutgoingMessage("t", bytes(size)))
    assert eventually(lambda: link.counters["sent"] == 2)
    assert link.counters["dropped_oversize"] == 1
    assert len(rig.lines) == 1


@contextmanager
def silence():
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_stop_returns_soon_even_when_nobody_answers(rig):
    with silence() as port:
        source = rig.source(port)
        stopper = threading.Thread(target=source.stop)
        stopper.start()
        stopper.join(5)
        assert not stopper.is_alive()


def test_tls_files_that_are_missing_are_a_slip(rig, tmp_path):
    with pytest.raises(UserError, match="tls"):
        rig.source(1883, tls={"ca": tmp_path / "no.pem"})


def test_a_taken_port_is_one_line(amqtt_port):
    with pytest.raises(UserError, match="taken"):
        EmbeddedBroker(amqtt_port).start()


@contextmanager
def broker_on(port):
    broker = EmbeddedBroker(port)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def test_the_embedded_broker_can_be_started_again_on_its_port():
    port = free_port()
    for _ in range(2):
        with broker_on(port), socket.create_connection(("127.0.0.1", port), 2):
            pass
