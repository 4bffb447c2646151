"""The facts about ONNX Runtime that devices/cpu.py leans on: a new version that changes one of them fails here."""

import os
import threading
import time
from importlib import metadata

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from devices import cpu as module
from devices.cpu import Cpu
from devices.interface import DeviceError, RunStopped


def chain_of_matmuls(tmp_path, *, count, size, weight_copies=1, name="slow.onnx"):
    """x [N, size] through `count` matrix products: `count` operators at which a run can be ended."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((random.random((size, size)) / size).astype(np.float32), f"w{i}")
        for i in range(weight_copies)
    ]
    nodes = [
        helper.make_node("MatMul", ["x" if i == 0 else f"y{i}", f"w{i % weight_copies}"], [f"y{i + 1}"])
        for i in range(count)
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [value("x", TensorProto.FLOAT, ["N", size])],
        [value(f"y{count}", TensorProto.FLOAT, ["N", size])],
        weights,
    )
    path = tmp_path / name
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def logarithm(tmp_path):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Log", ["x"], ["y"])],
        "log",
        [value("x", TensorProto.FLOAT, ["N", 2])],
        [value("y", TensorProto.FLOAT, ["N", 2])],
    )
    path = tmp_path / "log.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """An engine whose run takes a good part of a second in some 2000 operators."""
    path = chain_of_matmuls(tmp_path_factory.mktemp("slow"), count=2000, size=256)
    return Cpu().load(path)


ROWS = {"x": np.ones((64, 256), np.float32)}


def stopped_soon(engine, inputs):
    """Run in a thread, stop as soon as the call is in flight; what came of it and how long after the stop."""
    ended = []

    def run():
        try:
            engine.run(inputs)
            ended.append("completed")
        except RunStopped:
            ended.append("stopped")

    thread = threading.Thread(target=run)
    thread.start()
    while engine._call is None:
        assert thread.is_alive()
    engine.stop()
    began = time.perf_counter()
    thread.join(timeout=30)
    return ended, time.perf_counter() - began


def test_stop_ends_the_run_in_flight_and_the_engine_goes_on(slow):
    began = time.perf_counter()
    expected = slow.run(ROWS)
    whole_s = time.perf_counter() - began
    ended, after_s = stopped_soon(slow, ROWS)
    assert ended == ["stopped"]
    assert after_s < whole_s / 2 + 0.05
    again = slow.run(ROWS)
    assert all(np.array_equal(again[name], expected[name]) for name in expected)


def test_stop_without_a_run_is_nothing(slow):
    slow.stop()
    few = {"x": ROWS["x"][:1]}
    assert slow.run(few)["y2000"].shape == (1, 256)


def test_a_load_by_path_lets_other_threads_breathe(tmp_path):
    """A 64 MB model; the worst gap of a thread that ticks must stay far below the time of the load."""
    path = chain_of_matmuls(tmp_path, count=16, size=1024, weight_copies=16, name="big.onnx")
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    Cpu().load(path).close()
    took = time.perf_counter() - began
    done.set()
    thread.join()
    worst = max(np.diff([began, *ticks]), default=took)
    assert worst < max(0.05, took / 2), f"a thread stood still for {worst:.3f} s of a load of {took:.3f} s"


def test_inputs_and_outputs_are_described(slow):
    assert [(s.name, s.dtype, s.shape) for s in slow.inputs] == [("x", "float32", (None, 256))]
    assert [(s.name, s.dtype, s.shape) for s in slow.outputs] == [("y2000", "float32", (None, 256))]


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 1.0)])
def test_inf_and_nan_are_device_errors(tmp_path, values):
    engine = Cpu().load(logarithm(tmp_path))
    with pytest.raises(DeviceError, match="'y' holds NaN or Inf"):
        engine.run({"x": np.array([values], np.float32)})
    assert engine.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"x": np.ones((1, 3), np.float32)},
        {"x": np.ones((1, 2))},
        {"x": np.ones((1, 2), np.float32), "z": np.ones(1)},
    ],
    ids=["missing", "shape", "dtype", "unknown"],
)
def test_inputs_that_do_not_fit_are_device_errors_of_one_line(tmp_path, inputs):
    with pytest.raises(DeviceError) as caught:
        Cpu().load(logarithm(tmp_path)).run(inputs)
    assert "\n" not in str(caught.value)


def test_a_failing_load_is_one_error_without_a_second_try_or_a_word(tmp_path, capfd):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nothing")
    for bad in (path, tmp_path / "none.onnx"):
        with pytest.raises(DeviceError, match=bad.name):
            Cpu().load(bad)
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_closed_is_closed(tmp_path):
    engine = Cpu().load(logarithm(tmp_path))
    engine.close()
    engine.close()
    engine.stop()
    with pytest.raises(DeviceError, match="closed"):
        engine.run({"x": np.ones((1, 2), np.float32)})


def test_close_during_a_run_lets_it_end(tmp_path):
    engine = Cpu().load(chain_of_matmuls(tmp_path, count=200, size=256))
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(engine.run(ROWS)))
    thread.start()
    while engine._call is None and thread.is_alive():
        pass
    engine.close()
    thread.join(timeout=30)
    assert len(outputs) == 1


def test_pool_threads_inherit_the_cores(tmp_path):
    core = min(os.sched_getaffinity(0))
    mine = os.sched_getaffinity(0)
    before = set(os.listdir("/proc/self/task"))
    engine = Cpu(threads=2, cores=[core]).load(logarithm(tmp_path))
    pool = [int(tid) for tid in set(os.listdir("/proc/self/task")) - before]
    assert pool
    assert all(os.sched_getaffinity(tid) == {core} for tid in pool)
    assert os.sched_getaffinity(0) == mine
    engine.close()


def test_one_thread_means_no_pool(tmp_path):
    before = set(os.listdir("/proc/self/task"))
    engine = Cpu(threads=1).load(logarithm(tmp_path))
    assert set(os.listdir("/proc/self/task")) == before
    engine.close()


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="no such classes on this system")
@pytest.mark.parametrize(
    ("options", "background", "expected"),
    [
        ({}, True, "SCHED_BATCH"),
        ({}, False, "SCHED_OTHER"),
        ({"background": "batch"}, True, "SCHED_BATCH"),
        ({"background": "idle"}, True, "SCHED_IDLE"),
        ({"background": "idle"}, False, "SCHED_OTHER"),
        ({"background": "normal"}, True, "SCHED_OTHER"),
    ],
)
def test_background_threads_go_to_their_class_and_others_stay(options, background, expected):
    def entered():
        Cpu(**options).enter(background)
        return os.sched_getscheduler(0)

    assert in_a_thread(entered) == getattr(os, expected)


def test_what_the_system_refuses_is_left_undone(monkeypatch):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    device = Cpu(cores=[min(os.sched_getaffinity(0))])
    monkeypatch.setattr(module.os, "sched_setaffinity", refused)
    monkeypatch.setattr(module.os, "sched_setscheduler", refused)
    device.enter(True)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"cores": [4096]}, "4096"), ({"threads": 0}, "at least 1"), ({"background": "fast"}, "batch, normal, idle")],
)
def test_a_wrong_config_is_one_line(options, said):
    with pytest.raises(DeviceError, match=said):
        Cpu(**options)


def test_a_missing_runtime_names_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "ort", None)
    monkeypatch.setattr(module, "installed_runtimes", list)
    with pytest.raises(DeviceError, match="pip install onnxruntime"):
        Cpu()


def test_two_runtimes_are_refused(monkeypatch):
    monkeypatch.setattr(metadata, "distribution", lambda name: name)
    with pytest.raises(DeviceError, match="onnxruntime and onnxruntime-gpu are both installed"):
        Cpu()
