"""What every device promises, run on each that works here."""

import threading
from contextlib import ExitStack, suppress
from itertools import count

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from devices.artefact import Target
from devices.cpu import Cpu
from devices.interface import DeviceError, RunStopped, traits_of
from devices.remote import Remote
from devices.simulated import Simulated
from devices.traits import traits_of_kind
from tests.devices.peer import Peer

DEVICES = {
    "cpu": lambda _: Cpu(name="lane"),
    "simulated": lambda _: Simulated(name="lane", ms_by_batch={1: 0.01}),
    "simulated, random": lambda _: Simulated(name="lane", ms_by_batch={1: 0.01}, noise=0.5, outputs="random"),
    "remote": lambda peer: Remote(name="lane", url=peer().url),
}


@pytest.fixture(params=DEVICES.values(), ids=DEVICES.keys())
def device(request, graph):
    with ExitStack() as peers:
        yield request.param(lambda: peers.enter_context(Peer([graph])))


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """features [N, 3], head.weight [2, 3], head.bias [2] -> logits [N, 2]: a head that takes its weights as inputs."""
    value = helper.make_tensor_value_info
    inputs = [("features", ["N", 3]), ("head.weight", [2, 3]), ("head.bias", [2])]
    made = helper.make_graph(
        [helper.make_node("Gemm", ["features", "head.weight", "head.bias"], ["logits"], transB=1)],
        "head",
        [value(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [value("logits", TensorProto.FLOAT, ["N", 2])],
    )
    path = tmp_path_factory.mktemp("graph") / "head.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def tensors(batch):
    shapes = {"features": (batch, 3), "head.weight": (2, 3), "head.bias": (2,)}
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def test_it_has_a_name_a_kind_and_a_limit(device):
    assert device.name == "lane"
    assert device.kind in ("cpu", "simulated", "remote")
    assert device.memory_bytes > 0


def test_what_it_says_of_itself_is_what_its_kind_is_known_for(device):
    """Traces and scenarios name kinds alone; price and overhead are options of one device."""
    said, known = traits_of(device), traits_of_kind(device.kind)
    assert (said.remote, said.stoppable) == (known.remote, known.stoppable)


def test_what_it_compiles_it_accepts_loads_and_runs(device, graph, tmp_path):
    made = device.compile(graph.read_bytes(), Target((1, 4)))
    assert device.accepts(made.kind)
    path = tmp_path / "artefact"
    path.write_bytes(made.content)
    assert device.load(path, (1, 4)).run(tensors(4))["logits"].shape == (4, 2)


def test_the_same_graph_is_compiled_to_the_same_bytes(device, graph):
    """Artefacts are stored by the digest of their content."""
    content = graph.read_bytes()
    assert device.compile(content, Target((1,))) == device.compile(content, Target((1,)))


@pytest.mark.parametrize("kind", ["", "no-such-format", "step"])
def test_kinds_that_it_does_not_know_are_not_accepted(device, kind):
    assert not device.accepts(kind)


def test_loading_what_it_does_not_accept_is_a_device_error_that_names_the_file(device, tmp_path):
    path = tmp_path / "strange.bin"
    path.write_bytes(b"\xffno graph of any kind")
    with pytest.raises(DeviceError, match=r"strange\.bin|no such model"):  # a peer is asked by the digest
        device.load(path)


def test_engines_describe_inputs_and_outputs_alike(device, graph):
    engine = device.load(graph, (1, 4))
    assert [(s.name, s.dtype, s.shape) for s in engine.inputs] == [
        ("features", "float32", (None, 3)), ("head.weight", "float32", (2, 3)), ("head.bias", "float32", (2,)),
    ]  # fmt: skip
    assert [(s.name, s.shape) for s in engine.outputs] == [("logits", (None, 2))]


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_a_run_gives_all_outputs_by_name_in_the_declared_shape(device, graph, batch):
    outputs = device.load(graph, (1, 4)).run(tensors(batch))
    assert {name: (array.shape, array.dtype.name) for name, array in outputs.items()} == {
        "logits": ((batch, 2), "float32")
    }


def test_a_load_that_fails_is_a_device_error_that_names_the_file(device, tmp_path):
    with pytest.raises(DeviceError, match=r"none\.onnx"):
        device.load(tmp_path / "none.onnx")


@pytest.mark.parametrize("change", [{"features": np.ones((1, 7), np.float32)}, {"features": None}])
def test_inputs_that_do_not_fit_are_device_errors_and_the_engine_goes_on(device, graph, change):
    engine = device.load(graph)
    wrong = {name: array for name, array in {**tensors(1), **change}.items() if array is not None}
    with pytest.raises(DeviceError):
        engine.run(wrong)
    assert engine.run(tensors(1))["logits"].shape == (1, 2)


def test_stop_without_a_run_and_close_twice_are_nothing(device, graph):
    engine = device.load(graph)
    engine.stop()
    assert engine.run(tensors(1))
    engine.close()
    engine.close()
    engine.stop()
    with pytest.raises(DeviceError):
        engine.run(tensors(1))


def test_stopping_at_any_moment_stops_or_completes_a_run_and_harms_no_later_one(device, graph):
    """A second thread stops without pause: each run is `RunStopped` or right; when it ends every run is right again."""
    engine = device.load(graph)
    over, stops = threading.Event(), count()

    def nag():
        while not over.is_set():
            engine.stop()
            next(stops)

    thread = threading.Thread(target=nag)
    thread.start()
    for _ in range(50):
        with suppress(RunStopped):
            assert engine.run(tensors(1))["logits"].shape == (1, 2)
    over.set()
    thread.join()
    assert next(stops) > 0
    assert engine.run(tensors(1))["logits"].shape == (1, 2)


@pytest.mark.parametrize("background", [True, False])
def test_enter_never_raises(device, background):
    failed = []

    def enter():
        try:
            device.enter(background)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert failed == []
