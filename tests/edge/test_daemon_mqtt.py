"""The daemon beside a real broker: what comes over the network, what goes out, and a network that comes and goes."""

import time

import pytest

from edge.config import load
from tests.edge.daemon_builder import Client, Daemon, add_up, edge, jpeg, within

pytestmark = pytest.mark.broker

MB = 1024 * 1024


@pytest.fixture
def daemon(box, mosquitto):
    """Connected to the broker; every result it makes is published."""
    with Daemon(over(box, mosquitto)) as running:
        assert running.mqtt.wait_connected(10)
        yield running


@pytest.fixture
def client(daemon, mosquitto):
    with Client(mosquitto.port) as client:
        yield client


def over(box, mosquitto, **more):
    return edge(box, mqtt={"port": mosquitto.port, "node": "box", "reconnect_max_s": 0.5, **more})


def settled(daemon):
    """Wait until nothing is under way; the network's counters and the books."""
    source = daemon.mqtt
    assert within(lambda: source.counters["received"] == daemon.handled())
    return source.counters, daemon.stop()


def test_a_frame_in_is_a_result_out(daemon, client):
    client.send(jpeg("green"))
    assert within(lambda: client.under("gate/colour/result"))
    (result,) = client.under("gate/colour/result")
    assert result["objects"] == [{"kind": "paint", "label": "green", "score": 1.0}]
    assert (result["camera"], result["seq"], result["dropped_before"]) == ("gate", 1, 0)
    assert within(lambda: any(stats["frames"]["answered"] == 1 for stats in client.under("stats")))


def test_the_next_result_says_how_many_frames_fell_out_before_it(daemon, client):
    for payload in (jpeg("red")[:-100], b"junk", jpeg("red"), jpeg("blue")):
        client.send(payload)
    assert within(lambda: len(client.under("result")) == 2)
    assert [result["dropped_before"] for result in client.under("result")] == [2, 0]
    _, last = settled(daemon)
    assert last["frames"] == {"in": 4, "answered": 2, "dropped": {"failed": 2}, "waiting": 0}


def test_the_ground_truth_is_never_subscribed_to(daemon, client, mosquitto):
    client.send(b'{"objects": []}', suffix="truth")
    client.send(jpeg("red"))
    assert within(lambda: client.under("result"))
    counters, _ = settled(daemon)
    assert counters["received"] == 1
    assert counters["wrong_topic"] == 0
    asked = [line for line in mosquitto.log.read_text().splitlines() if "leeway-box 0 " in line]
    assert [line.split("leeway-box 0 ")[1] for line in asked] == ["leeway/box/+/frame"]


def test_other_topics_and_other_boxes_are_none_of_its_business(daemon, client):
    for suffix in ("frames", "frame/raw", "result", "colour/result"):
        client.send(jpeg("red"), suffix=suffix)
    client.client.publish("leeway/other/gate/frame", jpeg("red"))
    client.send(jpeg("red"))
    assert within(lambda: daemon.results)
    counters, last = settled(daemon)
    assert counters["received"] == 1
    assert last["frames"] == {"in": 1, "answered": 1, "dropped": {}, "waiting": 0}


def test_payloads_that_are_too_large_never_reach_a_lane(box, mosquitto):
    config = over(box, mosquitto, frame_bytes_max=MB)
    with Daemon(config) as daemon, Client(mosquitto.port) as client:
        assert daemon.mqtt.wait_connected(10)
        client.send(b"\xff\xd8" + bytes(50 * MB))  # the broker was told not to hand on so much
        client.send(b"\xff\xd8" + bytes(MB + 10))  # small enough for a packet, too large for a frame
        client.send(b"")
        client.send(jpeg("red"))
        assert within(lambda: daemon.results)
        counters, last = settled(daemon)
    assert counters["connects"] == 1
    assert counters["missing"] == 0
    assert last["frames"] == {"in": 3, "answered": 1, "dropped": {"too_large": 1, "empty": 1}, "waiting": 0}


@pytest.mark.parametrize("said", ["-5", "1e300", "nan", "yesterday", "4102444800"])
def test_a_clock_that_jumps_is_replaced_and_counted(daemon, client, said):
    client.send(jpeg("red"), frame_time=said)
    assert within(lambda: client.under("result"))
    (result,) = client.under("result")
    assert result["frame_time"] == result["received_time"] == pytest.approx(time.time(), abs=60)
    assert result["slo"]["met"]
    assert daemon.mqtt.counters["bad_clock"] == 1


def test_after_a_broker_restart_frames_flow_again_and_the_books_add_up(box, mosquitto, daemon, client):
    def answered_more(than):
        client.send(jpeg("red"))
        return len(client.under("result")) > than

    assert within(lambda: answered_more(3))
    mosquitto.stop()
    assert within(lambda: not daemon.mqtt.connected)
    daemon.answered(jpeg("red"))  # no broker, no reason to stop: only the result finds nobody
    client.ready.clear()
    mosquitto.start()
    back = time.monotonic()
    assert client.ready.wait(10)
    before = len(client.under("result"))
    assert within(lambda: answered_more(before))
    assert time.monotonic() - back < 5
    assert client.under("available")[-1] == "online"
    last = daemon.stop()
    assert last["network"]["reconnects"] == 1
    assert last["network"]["dropped_disconnected"] >= 1
    assert 5 < last["frames"]["in"] <= last["network"]["received"] + 1  # more may come once the books are closed
    assert last["frames"]["waiting"] == 0
    assert add_up(last["frames"])


def test_a_broker_that_comes_late_is_found(box, mosquitto):
    mosquitto.stop()
    with Daemon(over(box, mosquitto)) as daemon:
        daemon.answered(jpeg("red"))
        mosquitto.start()
        assert daemon.mqtt.wait_connected(5)
        with Client(mosquitto.port) as client:
            client.send(jpeg("red"))
            assert within(lambda: client.under("result"))


def test_two_daemons_of_one_name_are_counted_and_said(box, mosquitto, daemon, caplog):
    with Daemon(over(box, mosquitto)) as other:
        first, second = daemon.mqtt, other.mqtt
        assert within(lambda: first.counters["takeovers"] and second.counters["takeovers"])
        assert "client id" in caplog.text
        assert "leeway-box" in caplog.text
        assert daemon.answered(jpeg("red"))["objects"]  # both go on serving what reaches them
        assert other.answered(jpeg("red"))["objects"]


def test_it_says_that_it_is_there_and_that_it_left(box, mosquitto):
    with Client(mosquitto.port) as client:
        with Daemon(over(box, mosquitto)) as daemon:
            assert daemon.mqtt.wait_connected(10)
            assert within(lambda: client.under("available") == ["online"])
        assert within(lambda: client.under("available") == ["online", "stopped"])
        (last,) = [stats for stats in client.under("stats") if stats["final"]]
        assert last["models"]["paint"] == {"variant": "fp32", "trouble": ""}


def test_a_daemon_that_vanishes_is_reported_by_its_will(mosquitto, box):
    config = load(over(box, mosquitto))
    with Client(mosquitto.port) as client, Daemon(config) as daemon:
        assert daemon.mqtt.wait_connected(10)
        assert within(lambda: client.under("available") == ["online"])
        with Daemon(config) as other:  # the broker throws the first one out without a farewell
            assert within(lambda: "offline" in client.under("available"))
            assert other.mqtt
