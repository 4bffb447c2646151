"""Reads a task's outputs: the objects by its model's format, a crop for each box, and the signals drift watches."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edge.core.events import StepResult
from edge.data.picture import Pixels, crop
from porting.formats.format import DetectedObject, PictureView, Signals
from porting.formats.registry import format_of
from porting.variant import InputSpec, OutputSpec


@dataclass(slots=True)
class TaskOutcome:
    """Holds what one task brought. `crops`: of the objects that have boxes, in the same order; they come first.

    `signals`: what drift watches; `None` where the format has none, or where the answer is a repetition.
    """

    found: list[DetectedObject] = field(default_factory=list)
    crops: list[Pixels] = field(default_factory=list)
    signals: Signals | None = None


def read(
    output: OutputSpec, input_: InputSpec, model: str, tensors: dict[str, Any], pixels: Pixels
) -> tuple[StepResult, TaskOutcome]:
    """Reads the outputs of one task, tensors without a batch axis.

    The highest score of an object is the confidence, 1 without any. Objects are numbered kind by kind, since child
    tasks refer to these numbers. Only boxes have children.
    """
    format = format_of(output)
    view = PictureView(model, pixels.shape[1], pixels.shape[0], input_)
    signals = format.signals(output, tensors)
    reads = getattr(format, "read_signals", None)
    found = numbered(format.read(output, tensors, view) if reads is None else reads(output, signals, view))
    surest = max((thing.score for thing in found), default=1.0)
    crops = [crop(pixels, thing.box) for thing in found if thing.box is not None]
    children = dict(Counter(thing.kind for thing in found[: len(crops)])) if crops else {}
    return StepResult(confidence=surest, children=children), TaskOutcome(found, crops, signals)


def numbered(found: list[DetectedObject]) -> list[DetectedObject]:
    """Returns the objects with boxes first and kinds together, kinds in the order of their first object."""
    if len(found) < 2:
        return found
    first = {kind: place for place, kind in reversed([*enumerate(thing.kind for thing in found)])}
    return sorted(found, key=lambda thing: (thing.box is None, first[thing.kind]))
