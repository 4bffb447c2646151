"""A lane on another box: what the peer is asked, what its silence becomes, and that one connection is enough."""

import threading
from hashlib import sha256

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from devices.cpu import Cpu
from devices.interface import DeviceError, DeviceLost, RunStopped
from devices.remote import Remote
from tests.devices.peer import Peer, hang

ROWS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """x [N, 3] -> y = x + x."""
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [value("x", TensorProto.FLOAT, ["N", 3])],
        [value("y", TensorProto.FLOAT, ["N", 3])],
    )
    path = tmp_path_factory.mktemp("graph") / "double.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def peer(graph):
    with Peer([graph]) as running:
        yield running


def remote(peer, **options):
    return Remote("cloud", peer.url, **options)


def test_results_are_those_of_the_graph_run_here(peer, graph):
    here, there = Cpu().load(graph).run(ROWS), remote(peer).load(graph).run(ROWS)
    assert there.keys() == here.keys()
    assert np.array_equal(there["y"], here["y"])
    assert there["y"].dtype == here["y"].dtype


def test_a_graph_is_known_by_the_digest_of_its_content(peer, graph, tmp_path):
    digest = sha256(graph.read_bytes()).hexdigest()
    blob = tmp_path / digest
    blob.write_bytes(graph.read_bytes())
    remote(peer).load(graph)
    remote(peer).load(blob)
    assert peer.asked == [("GET", f"/v2/models/{digest}")] * 2


def test_what_the_peer_lacks_cannot_be_loaded(peer, tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"another graph")
    with pytest.raises(DeviceError, match="404: no such model") as caught:
        remote(peer).load(tmp_path / "other.onnx")
    assert not isinstance(caught.value, DeviceLost)


def test_one_connection_serves_many_runs(peer, graph):
    engine = remote(peer).load(graph)
    for _ in range(5):
        engine.run(ROWS)
    assert peer.connections == 1


def test_a_connection_that_was_idle_too_long_is_made_anew(peer, graph):
    engine = remote(peer).load(graph)
    peer.cut()
    assert engine.run(ROWS)["y"].tolist() == (2 * ROWS["x"]).tolist()
    assert peer.connections == 2


def test_the_peer_is_told_how_long_it_may_take(peer, graph):
    remote(peer, timeout_ms=500).load(graph).run(ROWS)
    assert peer.heads[-1]["parameters"] == {"timeout": 450_000, "binary_data_output": True}


def test_a_price_and_a_limit_are_kept(peer):
    device = remote(peer, price_per_request=0.25, memory_mb=2)
    assert (device.kind, device.traits.price_per_request, device.memory_bytes) == ("remote", 0.25, 2 << 20)


# ---- weather


def test_a_refusal_is_an_error_of_the_run_and_the_lane_lives(peer, graph):
    engine = remote(peer).load(graph)
    peer.act = lambda handler: handler.say(503, {"error": "late: no time left"}) or True
    with pytest.raises(DeviceError, match="503: late: no time left") as caught:
        engine.run(ROWS)
    assert not isinstance(caught.value, DeviceLost)
    peer.act = lambda handler: False
    assert engine.run(ROWS)


def test_nobody_there_is_a_lost_device_that_comes_back_with_the_peer(graph):
    with Peer([graph]) as peer:
        engine = remote(peer).load(graph)
    with pytest.raises(DeviceLost) as caught:
        engine.run(ROWS)
    assert caught.value.back() is False
    again = Peer([graph])
    again.port = peer.port
    with again:
        assert caught.value.back() is True
        assert engine.run(ROWS)


def test_a_load_without_a_peer_is_a_lost_device_too(graph):
    with Peer([graph]) as peer:
        device = remote(peer)
    with pytest.raises(DeviceLost, match=peer.url):
        device.load(graph)


def test_silence_is_a_lost_device(graph):
    with Peer([graph], hang) as peer:
        engine = remote(peer, timeout_ms=50).load(graph)
        with pytest.raises(DeviceLost, match="no answer in time"):
            engine.run(ROWS)


def test_a_peer_that_dies_in_the_middle_of_a_word(graph):
    def half(handler):
        if handler.command == "GET":
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 10)
        handler.close_connection = True
        return True

    with Peer([graph], half) as peer:
        engine = remote(peer).load(graph)
        with pytest.raises(DeviceLost):
            engine.run(ROWS)


@pytest.mark.parametrize("said", [b"", b"nonsense", b'{"outputs": 3}', b"[]"])
def test_rubbish_is_an_error(graph, said):
    def rubbish(handler):
        if handler.command == "GET":
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said)
        return True

    with Peer([graph], rubbish) as peer:
        engine = remote(peer).load(graph)
        with pytest.raises(DeviceError, match="sent no answer"):
            engine.run(ROWS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "z"}, "y is missing"),
        ({"shape": [1, 3], "data": [1, 2, 3]}, "shape .1, 3.; expected float32, 2 rows"),
        ({"shape": [], "data": 1}, "2 rows"),
        ({"datatype": "FP64"}, "y is float64"),
    ],
)
def test_an_answer_to_another_question_is_an_error(peer, graph, changes, said):
    engine = remote(peer).load(graph)
    table = {"name": "y", "datatype": "FP32", "shape": [2, 3], "data": [0] * 6, **changes}
    peer.act = lambda handler: handler.say(200, {"outputs": [table]}) or True
    with pytest.raises(DeviceError, match=said) as caught:
        engine.run(ROWS)
    assert not isinstance(caught.value, DeviceLost)


@pytest.mark.parametrize("table", [{}, {"inputs": 3, "outputs": []}, {"inputs": [{}], "outputs": []}])
def test_a_description_that_is_none(graph, table):
    with (
        Peer([graph], lambda handler: handler.say(200, table) or True) as peer,
        pytest.raises(DeviceError, match="describes"),
    ):
        remote(peer).load(graph)


# ---- stop


def test_stop_ends_the_call_on_its_way_and_the_next_one_runs(graph):
    reached = threading.Event()

    def wait_once(handler):
        if handler.command == "POST" and not reached.is_set():
            reached.set()
            handler.peer.over.wait(30)
            return True
        return False

    with Peer([graph], wait_once) as peer:
        engine = remote(peer, timeout_ms=30_000).load(graph)
        ended = []

        def run():
            try:
                engine.run(ROWS)
            except RunStopped:
                ended.append("stopped")

        thread = threading.Thread(target=run)
        thread.start()
        assert reached.wait(10)
        engine.stop()
        thread.join(10)
        assert ended == ["stopped"]
        assert engine.run(ROWS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "10.0.0.7:8000"}, "expected one such as http"),
        ({"url": "mqtt://box"}, "expected one such as http"),
        ({"timeout_ms": 0}, "timeout_ms more than 0"),
        ({"price_per_request": -1}, "must be 0 or more"),
    ],
)
def test_a_wrong_config_is_one_line(options, said):
    with pytest.raises(DeviceError, match=said):
        Remote(**options)
