"""A device from outside the tree, named by its import path alone: it compiles to a format of its own and serves it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from textwrap import dedent
from typing import Any

import pytest

from devices.cpu import Cpu
from devices.interface import Device
from porting.pipeline import port
from porting.repository.repository import Repository
from tests.conftest import eventually
from tests.edge.daemon_builder import BATCHES, BUDGET_NS, LABELS, Daemon, colour_classifier, edge, jpeg

LINES_MAX = 20
OUTSIDE = dedent('''
    import io, numpy as np, onnx
    from devices.interface import Artefact, DeviceError, TensorSpec
    class MeanColour:
        kind, memory_bytes = "mean-colour", 1 << 20
        inputs, outputs = (TensorSpec("image", "float32", (None, 3, 8, 8)),), (TensorSpec("out", "float32", (None, 3)),)
        def __init__(self, name="mean0", weights=None): self.name, self.weights = name, weights
        def compile(self, graph, target):
            arrays = [onnx.numpy_helper.to_array(each) for each in onnx.load_from_string(graph).graph.initializer]
            np.save(file := io.BytesIO(), next(array for array in arrays if array.shape == (3, 3)))
            return Artefact("mean-colour.npy", file.getvalue())
        def accepts(self, kind): return kind == "mean-colour.npy"
        def load(self, graph, batches=(1,)):
            try: return MeanColour(self.name, np.load(graph))
            except (OSError, ValueError) as error: raise DeviceError(f"{graph}: {error}") from None
        def run(self, inputs): return {"out": inputs["image"].mean((2, 3)) @ self.weights.T}
        def enter(self, background): "Any thread will do."
        def stop(self): "Ends by itself."
        def close(self): "Nothing to give back."
''')  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The import path of the device; its module lies in a folder that is no part of the project."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "mean_colour.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(folder))
    yield "mean_colour:MeanColour"
    sys.modules.pop("mean_colour", None)


def box(folder: Path, devices: dict[str, Device]) -> Repository:
    """One classifier for each of these devices, of the same name, ported to it whole."""
    repository = Repository(folder / "repository")
    path = folder / "model.onnx"
    path.write_bytes(colour_classifier(8).SerializeToString())
    for name, device in devices.items():
        port(path, name, repository, device, labels=LABELS, batches=BATCHES, budget_ns=BUDGET_NS, cut=False)
    return repository


def app(model: str) -> dict[str, Any]:
    return {"use": "edge.answers.single:Single", "model": model, "slo_ms": 5000}


def events(trace: Path, kind: str) -> list[dict[str, Any]]:
    """What a trace tells of one kind of event."""
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    return [line["event"][1] for line in lines if line["event"][0] == kind]


def test_it_fits_in_twenty_lines() -> None:
    assert len([line for line in OUTSIDE.splitlines() if line.strip()]) <= LINES_MAX


def test_the_repository_holds_what_the_device_compiled(outside: str, tmp_path: Path) -> None:
    device = resolve_name(outside)()
    repository = box(tmp_path, {"paint": device})
    (stage,) = repository.stages(repository.variant("paint", "fp32"), device.kind)
    assert stage.kind == "mean-colour.npy"
    assert repository.blob_bytes(stage.graph).startswith(b"\x93NUMPY")
    assert stage.durations_ns
    repository.check("paint", "fp32")


def test_each_model_runs_on_the_lane_that_accepts_its_artefact(outside: str, tmp_path: Path) -> None:
    """Through the daemon, from frame to label. The other lane says in one line why it does not load it."""
    box(tmp_path, {"paint": resolve_name(outside)(), "tint": Cpu()})
    devices = {"cpu0": {"use": "devices.cpu:Cpu"}, "mean0": {"use": outside}}
    streams = {"gate": {"apps": ["paint"]}, "yard": {"apps": ["tint"]}}
    apps, trace = {"paint": app("paint"), "tint": app("tint")}, tmp_path / "trace.jsonl"
    with Daemon(edge(tmp_path, devices=devices, streams=streams, apps=apps, trace=str(trace))) as daemon:
        for colour in LABELS:
            for camera in streams:
                assert daemon.answered(jpeg(colour), camera)["objects"][0]["label"] == colour
        lanes = {(task.model, run.lane) for run in daemon.runs for task in run.tasks}
    assert lanes == {("paint", "mean0"), ("tint", "cpu0")}
    assert {event["lane"]: event["reason"] for event in events(trace, "LoadFailed")} == {
        "cpu0": "cpu0: a cpu device does not load 'mean-colour.npy' artefacts",
        "mean0": "mean0: a mean-colour device does not load 'onnx' artefacts",
    }


def test_where_no_lane_accepts_it_the_daemon_says_so_and_serves_the_rest(outside: str, tmp_path: Path) -> None:
    box(tmp_path, {"paint": resolve_name(outside)(), "tint": Cpu()})
    streams = {"gate": {"apps": ["paint"]}, "yard": {"apps": ["tint"]}}
    with Daemon(edge(tmp_path, streams=streams, apps={"paint": app("paint"), "tint": app("tint")})) as daemon:
        assert daemon.answered(jpeg("green"), "yard")["objects"][0]["label"] == "green"
        daemon.send(jpeg("green"), "gate")
        assert eventually(lambda: daemon.reasons)
    assert daemon.reasons == {"refused": 1}
    assert daemon.details == ["paint: a stage could not be loaded"]
