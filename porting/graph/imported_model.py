"""Holds an imported model together with the repairs that were made to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from porting.graph import edit

CHANNELS = (1, 3)


@dataclass(slots=True)
class ImportedModel:
    """Holds a model in the normalised form that the rest of porting relies on, with the repairs
    made and notes for the user.
    """

    model: onnx.ModelProto
    path: Path
    repairs: list[str] = field(default_factory=list)  # what was changed; outputs stayed the same
    notes: list[str] = field(default_factory=list)  # what the user should know
    batches: tuple[int, ...] = (1,)  # sizes that it takes; (): any

    @property
    def input(self) -> onnx.ValueInfoProto:
        """Returns the model's only input."""
        info: onnx.ValueInfoProto = self.model.graph.input[0]
        return info

    @property
    def output(self) -> onnx.ValueInfoProto:
        """Returns the model's only output."""
        info: onnx.ValueInfoProto = self.model.graph.output[0]
        return info

    @property
    def output_name(self) -> str:
        return str(self.output.name)

    @property
    def output_shape(self) -> edit.Shape | None:
        """Returns the declared shape of the output; `None` in it: a free dimension; `None`: not even a rank."""
        return edit.shape_of(self.output)

    def extend_output(self, operator: str, shape: Sequence[int | str | None], **attributes: Any) -> None:
        """Appends an operator to the output, in place, and declares the new shape."""
        edit.append(self.model, operator, shape, **attributes)

    @property
    def layout(self) -> str:
        """Returns "NCHW" or "NHWC", by the axis that holds the one or three channels."""
        return "NCHW" if (edit.shape_of(self.input) or ())[1] in CHANNELS else "NHWC"

    def sample(self, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Returns a random input of the declared shape, by input name; free dimensions other
        than the batch become 1.
        """
        shape = edit.shape_of(self.input)
        assert shape is not None
        sizes = [batch, *(dim or 1 for dim in shape[1:])]
        return {self.input.name: edit.random_input(edit.dtype_of(self.input), sizes, seed)}
