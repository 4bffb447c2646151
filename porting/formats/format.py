"""Defines the seam between a model's output tensors and everything that uses its answers: one class per format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from porting.variant import InputSpec, OutputSpec

Array = NDArray[Any]
Corners = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels, x1 <= x2, y1 <= y2


@dataclass(slots=True)
class DetectedObject:
    """Holds one thing that a model says about a picture.

    kind: what sort of thing it is (a detector's label; the model's name where the whole picture is meant). label: what
    it is called. score: 0..1. box: in pixels of the picture, inside it; `None` where the whole picture is meant.
    attributes: JSON-ready values that only some formats have, such as keypoints, an embedding or a text.
    """

    kind: str
    label: str
    score: float
    box: Corners | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns the object as it is published; attributes cannot replace the common keys."""
        table: dict[str, Any] = {"kind": self.kind, "label": self.label, "score": round(self.score, 4)}
        if self.box is not None:
            table["box"] = [round(edge, 1) for edge in self.box]
        return {**self.attributes, **table}


Objects = Sequence[DetectedObject]


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Holds what drift adaptation watches in one answer.

    answer: float [K], the same K for every answer of a model; window tests compare its distribution. features: float
    [D], the vector that the last layer takes; `None` where the model was not cut there.
    """

    answer: Array
    features: Array | None = None


@dataclass(frozen=True, slots=True)
class PictureView:
    """Says which picture an answer is about: its size in pixels, and how it became the input of which model."""

    model: str
    width: int
    height: int
    input: InputSpec

    def inside(self, corners: Corners) -> Corners:
        """Returns a box of the model's input, in pixels, as a box of the picture, clipped to it."""
        across, down = self.width / self.input.width, self.height / self.input.height
        x1, x2 = (min(max(x * across, 0.0), float(self.width)) for x in corners[::2])
        y1, y2 = (min(max(y * down, 0.0), float(self.height)) for y in corners[1::2])
        return x1, y1, x2, y2


class ModelGraph(Protocol):
    """Describes what a format may ask of an imported model, and how it may change its output (`ImportedModel`)."""

    path: Path
    repairs: list[str]

    @property
    def output_name(self) -> str:
        """Returns the name of the model's first output."""

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        """Returns its declared shape; `None` in it: a free dimension; `None`: not even a rank is declared."""

    def extend_output(self, operator: str, shape: Sequence[int | str | None], **attributes: Any) -> None:
        """Appends an ONNX operator to the first output, in place, and declares the new shape."""


@runtime_checkable
class Format(Protocol):
    """Says what a model's outputs mean. Stateless; built without arguments; used from several threads.

    `name` is what `OutputSpec.kind` stores: a short name for the formats in this folder, else `package.module:Class`.
    `shape`: how the output it reads is laid out, for error messages. Tensors have no batch axis and are named as the
    stages' graphs name them; `output.name` is the model's answer. What only some formats can do is a protocol of its
    own below: callers ask `isinstance(format, LabelFormat)` and never look at the name. A format whose objects follow
    from its signals may have `read_signals(output, signals, picture)` as well, which is then called in place of `read`.
    """

    name: str
    shape: str

    def matches(self, graph: ModelGraph) -> float:
        """Returns how certain it is, 0..1, that a model's output is of this format; 0: it is not."""

    def settle(self, graph: ModelGraph, labels: tuple[str, ...] | None) -> OutputSpec:
        """Brings the graph's output into the layout that `read` takes, in place, and returns how to read it.

        labels: as the user gave them; `None`: to be made up. Raises `UserError` where the two do not fit.
        """

    def read(self, output: OutputSpec, tensors: Mapping[str, Array], picture: PictureView) -> list[DetectedObject]:
        """Returns what the outputs say about one picture; an empty list where they say nothing."""

    def score(self, objects: Objects, truth: Objects) -> float:
        """Returns how right an answer is about one picture, 0..1; 1 where it equals the truth."""

    def signals(self, output: OutputSpec, tensors: Mapping[str, Array]) -> Signals | None:
        """Returns what drift watches in the outputs of one picture; `None`: such answers cannot be watched."""


@runtime_checkable
class BoxFormat(Format, Protocol):
    """Is what a format can do whose objects have boxes: a cascade can crop them and hand them to other models."""

    def kinds(self, output: OutputSpec) -> tuple[str, ...]:
        """Returns the kinds of objects it may find."""


@runtime_checkable
class LabelFormat(Format, Protocol):
    """Is what a format can do that says one label of a known set: such answers can be voted on and can teach."""

    def shares(self, output: OutputSpec, signals: Signals) -> dict[str, float]:
        """Returns the probability of each label; they sum to 1."""

    def truth(self, output: OutputSpec, label: int) -> list[DetectedObject]:
        """Returns the true answer for a picture of that label (an index into `output.labels`), as `score` takes it."""


@runtime_checkable
class HeadFormat(LabelFormat, Protocol):
    """Is what a format can do whose last layer is linear: the model can be cut there and the head be replaced."""

    def probabilities(self, outputs: Array) -> Array:
        """Returns the answers [n, K] behind the head's outputs [n, K]; a row is `Signals.answer` of a picture."""

    def read_rows(self, output: OutputSpec, answers: Array, model: str = "") -> list[list[DetectedObject]]:
        """Returns what answers [n, K] say, row by row: what `read` says of the same outputs."""
