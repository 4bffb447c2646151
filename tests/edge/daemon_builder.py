"""A ported box in a folder, its daemon in a thread, and frames whose right answer is known by looking at them.

The detector sees four cells; a red or green cell is a vehicle, a blue one a person. The classifiers name the colour.
So an object's label must be the colour of the cell that its box covers, whatever way it went through the cascade.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import paho.mqtt.client as paho
import simplejpeg
import yaml
from onnx import TensorProto, helper, numpy_helper

from devices.cpu import Cpu
from devices.interface import DeviceError, RunStopped
from edge.config import Config, load
from edge.core.events import Evict, Reply, Run
from edge.core.interfaces import Moment
from edge.daemon import WiredDaemon, serve
from edge.data.frame import Frame
from edge.data.job import InFlightRequest
from edge.data.result import message
from edge.sources.http.server import HttpSource
from edge.sources.mqtt.outbox import OutgoingMessage
from edge.sources.mqtt.socket_options import send
from edge.sources.mqtt.source import MqttSource
from porting.pipeline import derive, port
from porting.repository.repository import Repository
from tests.conftest import eventually

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}
LABELS = ("red", "green", "blue")
AnySource = TypeVar("AnySource")
KINDS = ("vehicle", "person")  # red and green cells; blue cells
CELL = 48  # pixels of a frame
BUDGET_NS = 2_000_000
BATCHES = (1, 2, 4)


def picture(*cells: str) -> Any:
    """RGB uint8 [96, 96, 3] of four cells, row by row; one colour fills all of them."""
    colours = [COLOURS[name] for name in (cells * 4 if len(cells) == 1 else cells)]
    return np.array(colours, np.uint8).reshape(2, 2, 3).repeat(CELL, axis=0).repeat(CELL, axis=1)


def jpeg(*cells: str) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture(*cells)), 95, "RGB", "444")


def _model(nodes: Sequence[Any], shape: Sequence[Any], out: Sequence[Any], weights: Mapping[str, Any]) -> Any:
    float_ = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("image", float_, shape)]
    outputs = [helper.make_tensor_value_info("out", float_, out)]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "model", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def colour_classifier(size: int = 16, channels: int = 3, work: int = 0) -> onnx.ModelProto:
    """[N, 3, size, size] -> [N, 3]: 20 times the mean of each channel. `work`: makes it slow."""
    nodes, weights, last = [], {}, "image"
    if work:
        weights["busy.w"] = np.zeros((work, channels, 9, 9), np.float32)
        nodes += [
            helper.make_node("Conv", ["image", "busy.w"], ["busy"], pads=[4] * 4),
            helper.make_node("ReduceMax", ["busy"], ["most"], axes=[1], keepdims=1),
            helper.make_node("Add", ["image", "most"], ["seen"]),
        ]
        last = "seen"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["out"], transB=1),
    ]
    weights["fc.w"] = (np.eye(3, channels) * 20).astype(np.float32)
    weights["fc.b"] = np.zeros(3, np.float32)
    return _model(nodes, ["N", channels, size, size], ["N", 3], weights)


def cell_detector() -> onnx.ModelProto:
    """[N, 3, 32, 32] -> [N, 4 + 2, 4]: the boxes are the four cells, the scores say how red or green, how blue."""
    colours = np.zeros((6, 3, 1, 1), np.float32)
    colours[4, :2], colours[5, 2] = 1, 1
    boxes = np.zeros((1, 6, 4), np.float32)
    boxes[0, :2] = [[8, 24, 8, 24], [8, 8, 24, 24]]
    boxes[0, 2:4] = 12
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Conv", ["cells", "colours"], ["said"]),
        helper.make_node("Reshape", ["said", "shape"], ["rows"]),
        helper.make_node("Add", ["rows", "boxes"], ["out"]),
    ]
    weights = {"colours": colours, "boxes": boxes, "shape": np.array([0, 6, 4], np.int64)}
    return _model(nodes, ["N", 3, 32, 32], ["N", 6, 4], weights)


def samples(count: int = 60) -> tuple[list[Any], Any, Any]:
    """Noisy pictures of one colour each, their labels, and time blocks of six: what a drift reference is made of."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % len(LABELS)
    noise = random.integers(0, 60, (count, 2 * CELL, 2 * CELL, 3), np.uint8)
    images = [np.maximum(picture(LABELS[label]), grain) for label, grain in zip(labels, noise, strict=True)]
    return images, labels, np.arange(count) // 6


def ported(folder: Path, models: Mapping[str, onnx.ModelProto] | None = None) -> Repository:
    """The detector `cells` and the classifiers `paint` and `tint`, ported; or `models`, all of them classifiers."""
    repository = Repository(folder / "repository")
    chosen = models or {"cells": cell_detector(), "paint": colour_classifier(16), "tint": colour_classifier(8)}
    for name, model in chosen.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        labels, shown = (KINDS, None) if name == "cells" else (LABELS, samples() if name == "paint" else None)
        port(path, name, repository, Cpu(), labels=labels, batches=BATCHES, budget_ns=BUDGET_NS, samples=shown)
    return repository


def swapped(repository: Repository, model: str = "paint", name: str = "swapped") -> str:
    """Stores a variant that calls red blue and blue red; it does not serve yet."""
    parent = repository.variant(model, str(repository.serving(model)))
    head = next(stage.head for stage in repository.stages(parent, "") if stage.head)
    arrays = {key: array[..., ::-1].copy() for key, array in repository.arrays(str(head)).items()}
    return derive(repository, parent, name=name, head=arrays).name


def edge(folder: Path, **changes: Any) -> Path:
    """edge.yaml: one app `colour` of the classifier `paint` for every camera; `changes` replace top-level keys."""
    table: dict[str, Any] = {
        "models": "repository",
        "mqtt": {"port": 1, "node": "box", "reconnect_max_s": 0.2},
        "apps": {"colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 5000}},
        "streams": {"*": {"apps": ["colour"], "waiting_max": 32}},
        "stats_period_s": 0.2,
        **changes,
    }
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in table.items() if value is not None}))
    return path


CASCADE = {
    "use": "edge.answers.cascade:Cascade",
    "detect": "cells",
    "classify": {"vehicle": "paint", "person": "tint"},
    "slo_ms": 5000,
}


class TightCpu(Cpu):
    """`room`: bytes, where `memory_mb` is too coarse."""

    def __init__(self, name: str = "cpu0", room: int = 0):
        super().__init__(name)
        self.memory_bytes = room


class WeatherCpu(Cpu):
    """Its engines say `words` one after the other instead of running: "device" = weather, "bug" = ours."""

    def __init__(self, name: str = "cpu0", words: Sequence[str] = ()):
        super().__init__(name)
        self.words = list(words)

    def load(self, graph: Path, batches: tuple[int, ...] = (1,)) -> Any:
        engine = super().load(graph, batches)
        run = engine.run

        def weathered(inputs: Any) -> Any:
            word = self.words.pop(0) if self.words else ""
            if word == "device":
                raise DeviceError("the sky fell")
            if word == "bug":
                raise ZeroDivisionError("a bug of ours")
            return run(inputs)

        engine.run = weathered  # type: ignore[method-assign]
        return engine


class HangingCpu(Cpu):
    """Its engines do not come back by themselves: "hang" until they are stopped, "deaf" not even then."""

    def __init__(self, name: str = "cpu0", word: str = "hang"):
        super().__init__(name)
        self.word = word

    def load(self, graph: Path, batches: tuple[int, ...] = (1,)) -> Any:
        engine = super().load(graph, batches)
        told, stop = threading.Event(), engine.stop

        def hang(inputs: Any) -> Any:
            told.wait(5)
            raise RunStopped("stopped")

        engine.run = hang  # type: ignore[method-assign]
        engine.stop = told.set if self.word == "hang" else stop  # type: ignore[method-assign]
        return engine


class Daemon:
    """`serve` in a thread. Frames go in by `send`, as the network thread would hand them over; replies are kept.

    `results` are the messages as they would be published; `reasons` counts the others.
    """

    def __init__(self, config: Config | Path, first: Sequence[bytes] = ()):
        self.faults: dict[str, int] | None = {}  # of sources; None: any
        self.first = first  # frames that are there before anything is loaded: they wait for each other
        self.config = load(config) if isinstance(config, Path) else config
        self.results: list[dict[str, Any]] = []
        self.reasons: Counter[str] = Counter()
        self.details: list[str] = []
        self.last: dict[str, Any] = {}
        self.runs: list[Run] = []
        self.evicted = 0
        self.error: BaseException | None = None
        self._parts: WiredDaemon | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.seq = 0

    def __enter__(self) -> "Daemon":
        self._thread.start()
        self._ready.wait(30)
        if self.error is not None:
            raise self.error
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        with suppress(Exception):
            self.parts.world.ask_to_stop()
        self._thread.join(30)
        if kind is None and self.error is not None:
            raise self.error
        assert kind is not None or self.faults is None or self.parts.sources.faults == self.faults

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def parts(self) -> WiredDaemon:
        assert self._parts is not None
        return self._parts

    @property
    def mqtt(self) -> MqttSource:
        return self.source(MqttSource)

    @property
    def http(self) -> HttpSource:
        return self.source(HttpSource)

    def source(self, kind: type[AnySource]) -> AnySource:
        (found,) = (source for source in self.parts.sources if isinstance(source, kind))
        return found

    def stop(self) -> dict[str, Any]:
        """Drain and end; the last statistics."""
        self.__exit__(None)
        return self.last

    def _serve(self) -> None:
        try:
            self.last = serve(self.config, on_ready=self._begun)
        except BaseException as error:
            self.error = error
        self._ready.set()

    def _begun(self, parts: WiredDaemon) -> None:
        self._parts = parts
        parts.world.listeners.append(self)  # type: ignore[attr-defined]
        parts.observers.append(self)
        for payload in self.first:
            self.send(payload)
        self._ready.set()

    # ---- as an observer and a listener

    def observe(self, moment: Moment) -> tuple[()]:
        self.runs += [action for action in moment.actions if isinstance(action, Run)]
        self.evicted += sum(isinstance(action, Evict) for action in moment.actions)
        return ()

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None:
        self.reasons[reason] += 1

    def replied(self, opened: InFlightRequest, reply: Reply, now: int) -> None:
        if opened.frame is None:
            return
        if reply.outcome == "ok":
            self.results.append(message(opened, reply, now, time.time(), 0))
        else:
            self.details.append(reply.detail)
            self.reasons[reply.outcome] += 1

    # ---- what a test does

    def send(self, payload: bytes, camera: str = "gate", **more: Any) -> bool:
        self.seq += 1
        at = {"received_ns": time.monotonic_ns(), "received_time": time.time(), "frame_time": time.time()}
        return self.parts.world.receive(Frame(camera, payload, **{**at, "seq": self.seq, "properties": {}, **more}))

    def answered(self, payload: bytes, camera: str = "gate") -> dict[str, Any]:
        """Send one frame and wait for its answer."""
        before = len(self.results)
        self.send(payload, camera)
        assert eventually(lambda: len(self.results) > before or self.error), (self.reasons, self.details)
        assert not self.error, self.error
        return self.results[-1]

    def handled(self) -> int:
        return len(self.results) + self.reasons.total()

    @property
    def frames(self) -> dict[str, Any]:
        """The books as they stand; only when nothing moves."""
        return self.parts.metrics.snapshot(time.monotonic_ns())["frames"]


def add_up(frames: Mapping[str, Any]) -> bool:
    return bool(frames["in"] == frames["answered"] + sum(frames["dropped"].values()) + frames["waiting"])


class Client:
    """Somebody at the broker: publishes frames as cameras do, hears everything under the node. Reconnects by itself."""

    def __init__(self, port: int, node: str = "box"):
        self.node, self.heard = node, []
        self.seq = 0
        self.ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_connect = lambda client, *_: client.subscribe(f"leeway/{node}/#", 1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda _, __, message: self.heard.append(message)
        self.client.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, payload: bytes, camera: str = "gate", suffix: str = "frame", **user: str) -> None:
        self.seq += 1
        said = {"frame_time": repr(time.time()), "seq": str(self.seq), **user}
        topic = f"leeway/{self.node}/{camera}/{suffix}"
        send(self.client, OutgoingMessage(topic, payload, user=said, content_type="image/jpeg"))

    def under(self, suffix: str) -> list[Any]:
        """What was said on topics that end so: JSON where it is JSON."""
        said = [bytes(m.payload) for m in list(self.heard) if m.topic.endswith(f"/{suffix}")]
        return [json.loads(payload) if payload[:1] == b"{" else payload.decode(errors="replace") for payload in said]


def within(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    return eventually(condition, seconds)


def repository_of_box(folder: Path) -> Repository:
    return Repository(folder / "repository")
