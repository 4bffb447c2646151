"""Trust no transformation: run parent and child on the same samples and say by how much they differ."""

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
    """How far a child's outputs are from its parent's."""

    worst: float  # largest |child - parent|, in units of the parent's largest magnitude where that is above 1
    agreement: float  # share of rows (along the last axis) whose largest entry is in the same place, 0..1
    rows: int


def difference(parent: Array, child: Array) -> Difference:
    """Compare two outputs of one shape; another shape differs infinitely."""
    if parent.shape != child.shape:
        return Difference(float("inf"), 0.0, 0)
    if parent.size == 0:
        return Difference(0.0, 1.0, 0)
    a, b = np.asarray(parent, np.float64), np.asarray(child, np.float64)
    worst = float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))
    same = a.reshape(-1, a.shape[-1]).argmax(axis=1) == b.reshape(-1, b.shape[-1]).argmax(axis=1)
    return Difference(worst, float(same.mean()), len(same))


def same(parent: Mapping[str, Array], child: Mapping[str, Array], tolerance: float = TOLERANCE) -> bool:
    """Whether all outputs, taken in order, agree within the tolerance (see `Difference.worst`)."""
    pairs = zip(parent.values(), child.values(), strict=True)
    return len(parent) == len(child) and all(difference(a, b).worst <= tolerance for a, b in pairs)


def load_model(device: Device, model: onnx.ModelProto) -> Engine:
    """Compiles a graph that is in memory for the device, and loads what came of it. Raises `DeviceError`."""
    return load_artefact(device, compiled(device, model.SerializeToString(deterministic=True)))


def outputs_of(device: Device, model: onnx.ModelProto, inputs: Tensors) -> dict[str, Array]:
    """Load, run once, close. Raises `DeviceError`."""
    engine = load_model(device, model)
    try:
        return engine.run(inputs)
    finally:
        engine.close()


def try_outputs(device: Device, model: onnx.ModelProto, inputs: Tensors) -> dict[str, Array] | None:
    """The same; None when it does not run."""
    try:
        return outputs_of(device, model, inputs)
    except DeviceError:
        return None


def rejected(step: str, found: Difference, tolerance: float) -> UserError:
    """What is said when a step changed the model's answers."""
    return UserError(f"{step}: outputs moved by {found.worst:.3g}, allowed {tolerance:.3g}; the model was not ported")
