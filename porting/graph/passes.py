"""Passes over a model that was taken in: each result must answer as its parent did, or the port ends there."""

from collections.abc import Sequence
from typing import Protocol

import onnx

from devices.interface import Device
from porting.checks.equivalence import TOLERANCE, difference, outputs_of, rejected
from porting.graph.imported_model import ImportedModel

SEEDS = (0, 1)


class Pass(Protocol):
    """One transformation. It may have a `tolerance`: how far outputs may move (see `Difference.worst`)."""

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A new model with the same inputs and outputs; the given one is not changed."""


def transform(taken: ImportedModel, passes: Sequence[Pass], device: Device) -> None:
    """Replace the model by what the passes make of it, one after the other. Raises `UserError`, `DeviceError`."""
    for one in passes:
        name = type(one).__name__
        child = one.apply(taken.model)
        tolerance = getattr(one, "tolerance", TOLERANCE)
        for seed in SEEDS:
            inputs = taken.sample(taken.batches[0] if taken.batches else 1, seed)
            pairs = zip(*(outputs_of(device, model, inputs).values() for model in (taken.model, child)), strict=True)
            worst = max((difference(parent, moved) for parent, moved in pairs), key=lambda found: found.worst)
            if worst.worst > tolerance:
                raise rejected(f"{taken.path}: pass {name}", worst, tolerance)
        before, after = len(taken.model.graph.node), len(child.graph.node)
        taken.repairs.append(f"pass {name}: {before} nodes became {after}, outputs as before")
        taken.model = child
