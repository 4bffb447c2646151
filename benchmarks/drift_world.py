"""Simulates a small world with cameras, tracks and drifts, a CNN fitted to it, and a driver for
`AdaptationController`.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from devices.cpu import Cpu
from devices.interface import Engine
from drift.commands import Ask, Note, Promote, Rollback, RunJob
from drift.controller import AdaptationController
from drift.repair.batch_norm import folded, probed
from drift.repair.deployed import DeployedModel, LinearHead
from drift.repair.inference import BackboneRunner
from drift.repair.realign_statistics import Realign
from drift.repair.retrain_head import HeadRetraining
from drift.samples import Reference, Sample
from drift.settings import DriftSettings
from porting.variant import InputSpec

CLASSES = 5
SIZE = 24
SPEC = InputSpec("image", SIZE, SIZE)
S = 1_000_000_000
Array = np.ndarray[Any, Any]
Condition = Callable[[Array, np.random.Generator], Array]  # float [h, w, 3], 0..1 -> the same


# ---- pictures


def day(image: Array, rng: np.random.Generator) -> Array:
    """Returns the image unchanged."""
    return image


def night(image: Array, rng: np.random.Generator) -> Array:
    """Returns the image dark, low in contrast, bluish and noisy, which costs this model about half of its accuracy."""
    return image * [0.45, 0.5, 0.65] + 0.03 + rng.normal(0, 0.02, image.shape)


def clear(image: Array, rng: np.random.Generator) -> Array:
    """Returns the image with less noise and more contrast: the answers change a good deal, their
    accuracy does not suffer.
    """
    return np.asarray(cv2.GaussianBlur(image, (3, 3), 0.8) * 1.3 - 0.15)


def draw(kind: int, phase: float, size: float, rng: np.random.Generator, condition: Condition) -> Array:
    """Draws one crop, uint8 [SIZE, SIZE, 3]: a grating whose direction and frequency tell its class."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    angle = np.pi * kind / CLASSES + rng.normal(0, 0.06)
    wave = np.sin(2 * np.pi * size * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    inside = np.exp(-((x**2 + y**2) / 0.12))
    image = 0.5 + 0.33 * (wave * inside)[..., None] * [1.0, 0.8, 0.6] + rng.normal(0, 0.08, (SIZE, SIZE, 3))
    return np.asarray(np.clip(condition(image, rng) * 255, 0, 255), np.uint8)


@dataclass
class Camera:
    """Simulates a camera: objects come, stay for some seconds, and go, so that neighbouring
    frames show the same ones.
    """

    rng: np.random.Generator
    mix: Array
    crops: int = 2
    stay_s: float = 3.0
    objects: list[tuple[int, float, float, float]] = field(default_factory=list)  # kind, phase, size, leaves at (s)

    def frame(self, at_s: float, condition: Condition) -> list[tuple[Array, int]]:
        """Returns the crops of a frame with their classes."""
        self.objects = [o for o in self.objects if o[3] > at_s]
        while len(self.objects) < self.crops:
            kind = int(self.rng.choice(CLASSES, p=self.mix))
            phase, size = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(2.2, 4.0)
            self.objects.append((kind, phase, size, at_s + self.rng.exponential(self.stay_s)))
        return [(draw(k, phase + at_s, size, self.rng, condition), k) for k, phase, size, _ in self.objects]


def cameras(count: int, seed: int, mix: Array | None = None, **options: Any) -> dict[str, Camera]:
    flat = np.full(CLASSES, 1 / CLASSES) if mix is None else np.asarray(mix)
    return {f"cam-{i}": Camera(np.random.default_rng([seed, i]), flat, **options) for i in range(count)}


# ---- model


def load(graph: bytes) -> Engine:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(graph)
        return Cpu().load(path, ())


def forward(clock: Callable[[], int] = lambda: 0) -> BackboneRunner:
    return BackboneRunner(load, SPEC, "features", clock)


def result(slices: Iterator[None]) -> Any:
    """Runs slices to their end and returns their result."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            return stop.value


def backbone(seed: int = 0, widths: tuple[int, ...] = (16, 40)) -> bytes:
    """Returns a graph of random 3x3 convolutions, each with batch norm, ReLU and stride 2; mean
    over a 2x2 window at the end.
    """
    rng = np.random.default_rng(seed)
    nodes, tensors, source, depth = [], [], "image", 3
    for i, width in enumerate(widths):
        arrays = {
            f"w{i}": rng.normal(0, (2 / (9 * depth)) ** 0.5, (width, depth, 3, 3)),
            f"scale{i}": np.ones(width), f"shift{i}": rng.normal(0, 0.2, width),
            f"mean{i}": np.zeros(width), f"var{i}": np.ones(width),
        }  # fmt: skip
        tensors += [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()]
        stats = [f"scale{i}", f"shift{i}", f"mean{i}", f"var{i}"]
        nodes += [
            helper.make_node("Conv", [source, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("BatchNormalization", [f"c{i}", *stats], [f"b{i}"]),
            helper.make_node("Relu", [f"b{i}"], [f"r{i}"]),
        ]
        source, depth = f"r{i}", width
    nodes.append(helper.make_node("AveragePool", [source], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    side = SIZE >> len(widths) >> 1
    out = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", depth * side * side])
    graph = helper.make_graph(nodes, "backbone", [image], [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@cache
def trained() -> tuple[DeployedModel, Reference]:
    """Returns the model, fitted to the day by the code that repairs it, and its reference (other
    objects and cameras).
    """
    images, labels, _, _ = scene(8, seconds=80, seed=100, every_s=0.4, stay_s=0.8)
    probe = probed(backbone())
    graph = folded(backbone(), result(Realign(n0=0).measure(probe, images[:400], forward())))
    features = result(forward().features(graph, images))
    blank = LinearHead(np.zeros((CLASSES, features.shape[1]), np.float32), np.zeros(CLASSES, np.float32))
    trainer = HeadRetraining(steps=1500, rate=0.02, pull=1e-4, smoothing=0.05)
    half = len(images) // 2
    head = result(trainer.train(blank, (features[:half], labels[:half]), (features[half:], labels[half:]), 0))
    images, labels, stream, block = scene(4, seconds=60, seed=200, every_s=0.4)
    features = result(forward().features(graph, images))
    return DeployedModel("fp32", graph, head), Reference(
        images, labels, head.answers(features), features, stream, block
    )


def scene(
    count: int, seconds: float, seed: int, every_s: float, condition: Condition = day, **options: Any
) -> tuple[Array, Array, Array, Array]:
    """Returns (images, labels, stream, block) of all cameras, rows of a stream in time order."""
    rows = []
    for stream, camera in enumerate(cameras(count, seed, **options).values()):
        for at_s in np.arange(0, seconds, every_s):
            rows += [(image, kind, stream, int(at_s // 2)) for image, kind in camera.frame(at_s, condition)]
    images, labels, streams, blocks = zip(*rows, strict=True)
    return np.stack(images), np.asarray(labels), np.asarray(streams), np.asarray(blocks)


# ---- driver


class Drive:
    """Carries out an adaptation's commands in virtual time, with cameras, a teacher, jobs and a
    simulated repository.
    """

    def __init__(
        self,
        settings: DriftSettings,
        *,
        seed: int = 1,
        count: int = 4,
        condition: Callable[[float], Condition] = lambda at_s: day,
        mix: Callable[[float], Array | None] = lambda at_s: None,
        teacher: Callable[[int, np.random.Generator], int | None] = lambda label, rng: label,
        start: AdaptationController | None = None,
        crops: int = 2,
    ):
        self.incumbent, self.reference = trained()
        self.rng = np.random.default_rng(seed)
        self.adaptation = start or AdaptationController(
            "vehicles", self.incumbent, self.reference, settings, forward(), clock=self._tick, seed=seed
        )
        self.cameras = cameras(count, seed, crops=crops)
        self.condition, self.mix, self.teacher = condition, mix, teacher
        self.variants = {self.incumbent.name: self.incumbent}
        self.engines: dict[bytes, Engine] = {}
        self.truth: dict[int, int] = {}
        self.answers: list[tuple[float, bool]] = []  # (time in s, right)
        self.notes: list[tuple[float, Note]] = []
        self.commands: list[tuple[float, str]] = []
        self.jobs: list[Any] = []
        self.asked: list[tuple[float, int]] = []
        self.clock_ns = 0
        self.teach = True
        self.refuse = ""

    def _tick(self) -> int:
        self.clock_ns += 1_000_000  # every look at the clock finds it a millisecond later
        return self.clock_ns

    def run(self, seconds: float, begin_s: float = 0.0, fps: float = 5.0) -> "Drive":
        """Runs the ticks of `seconds` from `begin_s` on."""
        for tick in range(round(begin_s * fps), round((begin_s + seconds) * fps)):
            self.tick(tick / fps)
        return self

    def tick(self, at_s: float) -> None:
        """Runs frames, labels, jobs and commands of one moment."""
        self._frames(at_s)
        self._answer(at_s)
        for job in self.jobs:
            for _ in range(10):
                if job.step(10_000_000):
                    break
        self.jobs = [job for job in self.jobs if not job.done]
        for command in self.adaptation.commands(int(at_s * S)):
            self._carry_out(command, at_s)

    def _frames(self, at_s: float) -> None:
        serving = self.adaptation.incumbent
        seen = []
        for name, camera in self.cameras.items():
            camera.mix = self.mix(at_s) if self.mix(at_s) is not None else camera.mix
            if self.adaptation.wants(name, int(at_s * S)):
                seen += [(name, image, kind) for image, kind in camera.frame(at_s, self.condition(at_s))]
        if not seen:
            return
        features = self._features(serving.graph, np.stack([image for _, image, _ in seen]))
        answers = serving.head.answers(features)
        said = self.adaptation.context.scorer.read(answers)
        for (name, image, kind), f, p, objects in zip(seen, features, answers, said, strict=True):
            sample = Sample(len(self.truth), name, int(at_s * S), image, p, f, serving.name, tuple(objects))
            self.truth[sample.id] = kind
            self.answers.append((at_s, bool(p.argmax() == kind)))
            self.adaptation.observe(sample)

    def _features(self, graph: bytes, images: Array) -> Array:
        if graph not in self.engines:
            self.engines[graph] = load(graph)
        return np.concatenate([out["features"] for out, _ in forward().chunks(self.engines[graph], images, {})])

    def _answer(self, at_s: float) -> None:
        due = [i for asked_s, i in self.asked if asked_s <= at_s]
        self.asked = [(asked_s, i) for asked_s, i in self.asked if asked_s > at_s]
        for i in due:
            self.adaptation.labelled(i, self.teacher(self.truth[i], self.rng))

    def _carry_out(self, command: Any, at_s: float) -> None:
        self.commands.append((at_s, type(command).__name__))
        match command:
            case Ask(samples):
                if self.teach:  # 5 ms each, in half of the time
                    self.asked += [(at_s + 0.01 * i, sample.id) for i, sample in enumerate(samples)]
            case RunJob(_, job):
                self.jobs.append(job)
            case Note():
                self.notes.append((at_s, command))
            case Promote(candidate) if self.refuse:
                self.adaptation.refused(self.refuse)
            case Promote(candidate):
                name = f"{candidate.kind}-{len(self.variants)}"
                self.variants[name] = self.incumbent
                self.adaptation.promoted(name)
            case Rollback():
                self.adaptation.rolled_back()

    def accuracy(self, begin_s: float, end_s: float) -> float:
        return float(np.mean([right for at_s, right in self.answers if begin_s <= at_s < end_s]))

    def told(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at_s, dict(note.fields)) for at_s, note in self.notes if note.kind == kind]
