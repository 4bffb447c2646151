"""From a model's last tensors to what its task found: a label with its probabilities, or boxes with a crop for each."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edge.core.events import StepResult
from edge.data.picture import Pixels, crop
from porting.formats.tensors import boxes, softmax
from porting.variant import InputSpec, OutputSpec


@dataclass(slots=True)
class DetectedObject:
    """One object: of which kind, where (pixels of the original frame), what it is called, how sure."""

    kind: str
    label: str
    score: float
    box: tuple[float, float, float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        table: dict[str, Any] = {"kind": self.kind, "label": self.label, "score": round(self.score, 4)}
        if self.box is not None:
            table["box"] = [round(edge, 1) for edge in self.box]
        return table


@dataclass(slots=True)
class TaskOutcome:
    """What one task brought: objects, the crops of those objects in the same order, and the signals that came free."""

    found: list[DetectedObject] = field(default_factory=list)
    crops: list[Pixels] = field(default_factory=list)
    probs: NDArray[Any] | None = None  # [K]
    features: NDArray[Any] | None = None  # [D]


def read(
    output: OutputSpec, input_: InputSpec, model: str, tensors: dict[str, Any], pixels: Pixels
) -> tuple[StepResult, TaskOutcome]:
    """Read the outputs of one task (no batch axis)."""
    if output.kind == "classification":
        return read_label(output, model, tensors)
    return read_boxes(output, input_, tensors, pixels)


def read_label(output: OutputSpec, model: str, tensors: dict[str, Any]) -> tuple[StepResult, TaskOutcome]:
    probs = softmax(tensors[output.name])
    best = int(probs.argmax())
    score = float(probs[best])
    features = tensors.get(output.features) if output.features else None
    return StepResult(confidence=score), TaskOutcome(
        [DetectedObject(model, output.labels[best], score)], [], probs, features
    )


def read_boxes(
    output: OutputSpec, input_: InputSpec, tensors: dict[str, Any], pixels: Pixels
) -> tuple[StepResult, TaskOutcome]:
    """Objects are numbered kind by kind, in the order of the labels: the numbering that child tasks refer to."""
    height, width = pixels.shape[:2]
    across, down = width / input_.width, height / input_.height
    found = [
        DetectedObject(label, label, score, (x1 * across, y1 * down, x2 * across, y2 * down))
        for label, score, (x1, y1, x2, y2) in boxes(tensors[output.name], output)
    ]
    found.sort(key=lambda thing: output.labels.index(thing.kind))  # stable: the surest first within a kind
    counts = {label: sum(thing.kind == label for thing in found) for label in output.labels}
    crops = [crop(pixels, thing.box) for thing in found if thing.box is not None]
    surest = max((thing.score for thing in found), default=1.0)
    return StepResult(confidence=surest, children={k: n for k, n in counts.items() if n}), TaskOutcome(found, crops)
