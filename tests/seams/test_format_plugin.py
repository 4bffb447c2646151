"""A format from outside the tree, named by its import path alone, answers frames in the real daemon."""

import importlib
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from devices.cpu import Cpu
from edge.config import load
from edge.daemon import wire
from porting.errors import UserError
from porting.formats.registry import format_named
from porting.pipeline import port
from porting.repository.repository import Repository
from tests.edge.daemon_builder import BATCHES, BUDGET_NS, Daemon, edge, jpeg, within

PLUG_IN = """
from porting.formats.format import DetectedObject, Signals
from porting.variant import OutputSpec


class Brightness:
    name, shape = "brightness_format:Brightness", "[N, 1]"

    def matches(self, graph):
        return 0.0

    def settle(self, graph, labels):
        return OutputSpec(self.name, (), graph.output_name)

    def read(self, output, tensors, picture):
        return [DetectedObject(picture.model, "seen", 1.0, attributes={"embedding": tensors[output.name].tolist()})]

    def score(self, objects, truth):
        return 1 - abs(objects[0].attributes["embedding"][0] - truth[0].attributes["embedding"][0])

    def signals(self, output, tensors):
        return Signals(tensors[output.name])
"""
USE = "brightness_format:Brightness"


def mean_of_a_picture() -> onnx.ModelProto:
    """[N, 3, 8, 8] -> [N, 1]: the mean of all pixels, 0..1."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "axis"], ["out"]),
        ],
        "mean",
        [value("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [value("out", TensorProto.FLOAT, ["N", 1])],
        [onnx.numpy_helper.from_array(np.array([1]), "axis")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """The module, importable for as long as the test runs."""
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug/brightness_format.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path / "plug")
    importlib.invalidate_caches()
    yield
    sys.modules.pop("brightness_format", None)


@pytest.fixture
def box(tmp_path, plug_in):
    """A repository whose model `paint` has a format of its own."""
    path = tmp_path / "paint.onnx"
    path.write_bytes(mean_of_a_picture().SerializeToString())
    quick = {"batches": BATCHES, "budget_ns": BUDGET_NS, "input": {"scale": 1 / 255}}
    port(path, "paint", Repository(tmp_path / "repository"), Cpu(), kind=USE, **quick)
    return tmp_path


def test_it_is_small():
    assert len([line for line in PLUG_IN.splitlines() if line]) <= 20


def test_a_frame_is_answered_in_its_own_words(box):
    with Daemon(edge(box)) as daemon:
        answers = [daemon.answered(jpeg(colour))["objects"] for colour in ("black", "red")]
    (black,), (red,) = answers
    assert (red["kind"], red["label"]) == ("paint", "seen")
    assert black["embedding"] == pytest.approx([0], abs=0.02)
    assert red["embedding"] == pytest.approx([1 / 3], abs=0.02)


def test_the_variant_names_it_and_nothing_else_does(box):
    repository = Repository(box / "repository")
    assert repository.variant("paint", "fp32").output.kind == USE
    assert len(repository.stages(repository.variant("paint", "fp32"), "cpu")) == 1, "it has no head to be cut off"


def test_what_it_cannot_do_is_refused_before_a_frame_comes(box):
    cascade = {"use": "edge.answers.cascade:Cascade", "detect": "paint", "classify": {"seen": "paint"}, "slo_ms": 100}
    with pytest.raises(UserError, match="finds no boxes"):
        wire(load(edge(box, apps={"colour": cascade}))).served()
    vote = {"use": "edge.answers.ensemble:Ensemble", "members": ["paint/fp32"], "slo_ms": 100}
    with pytest.raises(UserError, match="can be combined"):
        wire(load(edge(box, apps={"colour": vote}))).served()


def test_a_format_that_raises_fails_its_frame_and_the_daemon_serves_on(box, monkeypatch):
    kind = type(format_named(USE))
    reads = kind.read

    def picky(self, output, tensors, picture):
        if tensors[output.name][0] < 0.1:
            raise ZeroDivisionError("too dark")
        return reads(self, output, tensors, picture)

    monkeypatch.setattr(kind, "read", picky)
    with Daemon(edge(box)) as daemon:
        assert daemon.send(jpeg("black"))
        assert within(lambda: daemon.frames["dropped"] == {"failed": 1})
        assert [thing["label"] for thing in daemon.answered(jpeg("red"))["objects"]] == ["seen"]
        last = daemon.stop()
    assert last["frames"]["answered"] == 1
