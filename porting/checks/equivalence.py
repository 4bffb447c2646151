"""Runs a parent graph and its child on the same samples and measures by how much their outputs differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from devices.interface import Device, DeviceError, Engine, Tensors
from porting.artefacts import compiled, load_artefact
from porting.errors import UserError

TOLERANCE = 1e-4
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """Describes how far a child's outputs are from its parent's."""

    worst: float  # largest |child - parent|, in units of the parent's largest magnitude where that is above 1
    agreement: float  # share of rows (along the last axis) whose largest entry is in the same place, 0..1
    rows: int


def difference(parent: Array, child: Array) -> Difference:
    """Compares two outputs; another shape counts as an infinite difference."""
    if parent.shape != child.shape:
        return Difference(float("inf"), 0.0, 0)
    if parent.size == 0:
        return Difference(0.0, 1.0, 0)
    a, b = np.asarray(parent, np.float64), np.asarray(child, np.float64)
    worst = float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))
    same = a.reshape(-1, a.shape[-1]).argmax(axis=1) == b.reshape(-1, b.shape[-1]).argmax(axis=1)
    return Difference(worst, float(same.mean()), len(same))


def same(parent: Mapping[str, Array], child: Mapping[str, Array], tolerance: float = TOLERANCE) -> bool:
    """Returns whether all outputs, taken in order, agree within the tolerance (see `Difference.worst`)."""
    pairs = zip(parent.values(), child.values(), strict=True)
    return len(parent) == len(child) and all(difference(a, b).worst <= tolerance for a, b in pairs)


def load_model(device: Device, model: onnx.ModelProto) -> Engine:
    """Compiles a graph that is in memory for the device, and loads the artefact. Raises `DeviceError`."""
    return load_artefact(device, compiled(device, model.SerializeToString(deterministic=True)))


def outputs_of(device: Device, model: onnx.ModelProto, inputs: Tensors) -> dict[str, Array]:
    """Loads a graph, runs it once, and closes it; returns its outputs by name. Raises `DeviceError`."""
    engine = load_model(device, model)
    try:
        return engine.run(inputs)
    finally:
        engine.close()


def try_outputs(device: Device, model: onnx.ModelProto, inputs: Tensors) -> dict[str, Array] | None:
    """Returns what `outputs_of` returns, or None when the graph does not run."""
    try:
        return outputs_of(device, model, inputs)
    except DeviceError:
        return None


def rejected(step: str, found: Difference, tolerance: float) -> UserError:
    """Returns the error for a step that changed the model's outputs by more than the tolerance."""
    return UserError(f"{step}: outputs moved by {found.worst:.3g}, allowed {tolerance:.3g}; the model was not ported")
