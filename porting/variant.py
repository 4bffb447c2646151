"""What can be served: stages named by the digest of their content, variants as chains of stages. Plain values, JSON both ways."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a picture becomes the first stage's input tensor: resize, colour order, `(x * scale - mean) / std`, layout."""

    name: str
    width: int
    height: int
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """How the last stage's output becomes a result."""

    kind: Literal["classification", "detection"]
    labels: tuple[str, ...]
    name: str  # classification: logits [N, K]; detection: [N, 4 + K, M], rows cx cy w h (input pixels), then scores 0..1
    features: str | None = None  # [N, D]: the vectors that the head takes, where the model was cut there
    score_min: float = 0.3  # detection only
    overlap_max: float = 0.5  # detection only: IoU above which the weaker box goes


def digest_of(value: object) -> str:
    """SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Stage:
    """What a lane runs in one go. Equal digests mean equal work, whichever model it belongs to: one queue, one batch.

    A retrainable head enters as inputs: `graph` is the blob of the ONNX file, `head` the blob of the arrays handed over
    at every run (`.npz`, one array for each extra graph input). A new head is a new stage on the same resident graph.
    """

    kind: Literal["onnx", "step"]  # "step": background work that is code of ours, not a graph
    graph: str  # blob digest; for a step: its name
    head: str | None = None  # blob digest
    input: InputSpec | None = None  # first stage only: part of the identity, since a shared batch shares its pictures' shape
    batches: tuple[int, ...] = (1,)  # sizes it accepts, ascending
    blobs: Mapping[str, int] = field(default_factory=dict)  # digest -> bytes
    durations_ns: Mapping[int, int] = field(default_factory=dict)  # batch -> measured p99 on this lane's device

    @property
    def digest(self) -> str:
        return digest_of([self.kind, self.graph, self.head, asdict(self.input) if self.input else None])

    @property
    def memory_bytes(self) -> int:
        return sum(self.blobs.values())


@dataclass(frozen=True, slots=True)
class Variant:
    """A chain of stages that serves a model."""

    model: str
    name: str
    stages: tuple[str, ...]  # digests
    output: OutputSpec | None = None  # None: background steps
    accuracy: float | None = None  # 0..1 on the labelled samples it was judged with
    parent: str | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)  # how, when, with what evidence; free JSON
