"""Defines what can be served: stages named by the digest of their content, and variants, chains of stages."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from devices.artefact import ONNX


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Says how a picture becomes the first stage's input: resize, colour order, `(x * scale - mean) / std`, layout."""

    name: str
    width: int
    height: int
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: Literal["float32", "float16", "uint8"] = "float32"  # uint8: the picture as it is; scale, mean, std unused


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Says how the last stage's output becomes a result.

    kind: the stored name of a format; `porting.formats.registry.format_of` finds the format itself, and nothing else
    looks at the name. name: the tensor that answers, laid out as its format says.
    """

    kind: str  # "classification", "detection", or "package.module:Class" of a format from elsewhere
    labels: tuple[str, ...]
    name: str
    features: str | None = None  # [N, D]: the vectors that the head takes, where the model was cut there
    score_min: float = 0.3  # detection only
    overlap_max: float = 0.5  # detection only: IoU above which the weaker box goes


def digest_of(value: object) -> str:
    """Returns the SHA-256 of the canonical JSON of a value, 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


STEP = "step"  # in place of the kind of an artefact: no graph, but background work that is code of ours


@dataclass(frozen=True, slots=True)
class Stage:
    """Describes what a lane runs in one go.

    Equal digests mean equal work, whichever model it belongs to: one queue, one batch.

    A retrainable head enters as inputs: `graph` is the blob of the artefact, `head` the blob of the arrays handed over
    at every run (`.npz`, one array for each extra graph input). A new head is a new stage on the same resident graph.
    """

    kind: str  # the format of the artefact in `graph`, e.g. "onnx"; `STEP`: background work, see `is_step`
    graph: str  # blob digest; for a step: its name
    head: str | None = None  # blob digest
    input: InputSpec | None = (
        None  # first stage only: part of the identity, since a shared batch shares its pictures' shape
    )
    batches: tuple[int, ...] = (1,)  # sizes it accepts, ascending
    blobs: Mapping[str, int] = field(default_factory=dict)  # digest -> bytes
    durations_ns: Mapping[int, int] = field(default_factory=dict)  # batch -> measured p99 on this lane's device

    @property
    def digest(self) -> str:
        """Returns the identity of its work: that of its kind, its blobs and its input, not of batches or durations."""
        return digest_of([self.kind, self.graph, self.head, asdict(self.input) if self.input else None])

    @property
    def is_step(self) -> bool:
        """Returns whether this is a step of background work, for which nothing is loaded."""
        return is_step(self.kind)

    @property
    def is_onnx(self) -> bool:
        """Returns whether its graph is an ONNX file: one that can be read and edited without the device."""
        return self.kind == ONNX

    @property
    def memory_bytes(self) -> int:
        """Returns the size of its blobs together."""
        return sum(self.blobs.values())


def is_step(kind: str) -> bool:
    """Returns whether a stage of this kind is background work; every other kind names the format of an artefact."""
    return kind == STEP


@dataclass(frozen=True, slots=True)
class Variant:
    """Describes a chain of stages that serves a model."""

    model: str
    name: str
    stages: tuple[str, ...]  # digests
    output: OutputSpec | None = None  # None: background steps
    accuracy: float | None = None  # 0..1 on the labelled samples it was judged with
    parent: str | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)  # how, when, with what evidence; free JSON


def stage_from_json(table: Mapping[str, Any]) -> Stage:
    """Returns the stage that `asdict` and JSON made this table of."""
    spec = table["input"]
    return Stage(
        kind=table["kind"],
        graph=table["graph"],
        head=table["head"],
        input=None if spec is None else InputSpec(**{**spec, "mean": tuple(spec["mean"]), "std": tuple(spec["std"])}),
        batches=tuple(table["batches"]),
        blobs=dict(table["blobs"]),
        durations_ns={int(batch): ns for batch, ns in table.get("durations_ns", {}).items()},
    )


def variant_from_json(table: Mapping[str, Any]) -> Variant:
    """Returns the variant that `asdict` and JSON made this table of; its stages may be whole tables or digests."""
    output = table["output"]
    chain = (stage if isinstance(stage, str) else stage_from_json(stage).digest for stage in table["stages"])
    spec = None if output is None else OutputSpec(**{**output, "labels": tuple(output["labels"])})
    return Variant(**{**table, "stages": tuple(chain), "output": spec})
