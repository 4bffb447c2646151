"""Runs passes over an imported model; the port fails when a result differs from its parent by
more than the tolerance.
"""

from collections.abc import Sequence
from typing import Protocol

import onnx

from devices.interface import Device
from porting.checks.equivalence import TOLERANCE, difference, outputs_of, rejected
from porting.graph.imported_model import ImportedModel

SEEDS = (0, 1)  # of the random inputs on which parent and child are compared


class Pass(Protocol):
    """Describes one transformation. It may have an attribute `tolerance`: how far outputs may
    move (see `Difference.worst`).
    """

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Returns a new model with the same inputs and outputs; the given one is not changed."""


def transform(taken: ImportedModel, passes: Sequence[Pass], device: Device) -> None:
    """Applies the passes one after the other and replaces the model in `taken`, recording each as a repair.

    Raises:
        UserError: a pass moved the outputs by more than its tolerance. DeviceError: a graph does not run.
    """
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
