"""Frees the batch axis of a model that was exported with a fixed batch, where its graph allows."""

import numpy as np
import onnx
from onnx import numpy_helper

from devices.interface import Device
from porting.checks.equivalence import Array, difference, outputs_of, try_outputs
from porting.errors import UserError
from porting.graph import edit
from porting.graph.imported_model import ImportedModel

TOLERANCE = 1e-4


def free_batch(taken: ImportedModel, device: Device) -> tuple[int, ...]:
    """Returns the batch sizes that the model takes: () for any, (1,) for one at a time.

    `taken` may get a graph with a free batch axis, a repair and a note. A candidate graph counts only when two batches
    run together give the rows that each gives alone.

    Args:
        taken: the model; changed in place.
        device: runs the candidates.

    Raises:
        UserError: the model takes a fixed batch larger than 1.
    """
    declared = edit.shape_of(taken.input)
    assert declared is not None
    fixed = declared[0]
    for change in (_declared_free,) if fixed is None else (_declared_free, _reshapes_free):
        child = change(taken.model)
        if _rows_are_independent(taken, child, device):
            taken.model = child
            if fixed is not None:
                taken.repairs.append(f"the batch was fixed at {fixed}, now any size; rows agree with single runs")
            return ()
    if fixed not in (1, None):
        raise UserError(f"{taken.path}: takes exactly {fixed} pictures at a time; export it with a free batch axis")
    if fixed is None:  # it declares a free batch, but its rows depend on each other: fix it at one
        taken.model = _declare(taken.model, 1)
    taken.notes.append("one picture at a time: the graph does not allow larger batches")
    return (1,)


def _declared_free(model: onnx.ModelProto) -> onnx.ModelProto:
    return _declare(model, "N")


def _reshapes_free(model: onnx.ModelProto) -> onnx.ModelProto:
    """Frees Reshape targets that begin with the fixed batch: they infer it (-1) or, where
    another entry is -1, copy it (0).
    """
    child = _declare(model, "N")
    batch = (edit.shape_of(model.graph.input[0]) or (1,))[0]
    for node in list(child.graph.node):
        target = edit.constant(child.graph, node.input[1]) if node.op_type == "Reshape" else None
        if target is None or not len(target) or target[0] != batch:
            continue
        name = f"{node.output[0]}.target"
        freed = np.array([0 if -1 in target else -1, *target[1:]], np.int64)
        child.graph.initializer.append(numpy_helper.from_array(freed, name))
        node.input[1] = name
    return child


def _declare(model: onnx.ModelProto, batch: int | str) -> onnx.ModelProto:
    child = onnx.ModelProto()
    child.CopyFrom(model)
    child.graph.ClearField("value_info")
    for info in (child.graph.input[0], *child.graph.output):
        shape = edit.shape_of(info)
        if shape:
            edit.set_shape(info, [batch, *shape[1:]])
    return edit.infer(child)


def _rows_are_independent(taken: ImportedModel, child: onnx.ModelProto, device: Device) -> bool:
    fixed = (edit.shape_of(taken.input) or (1,))[0] or 1
    alone = [taken.sample(fixed, seed) for seed in (1, 2)]
    name = taken.input.name
    together = {name: np.concatenate([sample[name] for sample in alone])}
    joint = try_outputs(device, child, together)
    if joint is None or try_outputs(device, child, {name: alone[0][name][:1]}) is None:
        return False
    singles = [outputs_of(device, taken.model, sample) for sample in alone]
    return all(_rows_agree([single[key] for single in singles], rows) for key, rows in joint.items())


def _rows_agree(singles: list[Array], joint: Array) -> bool:
    apart = [np.asarray(single) for single in singles]
    if any(single.ndim == 0 for single in apart):
        return False
    return difference(np.concatenate(apart), joint).worst <= TOLERANCE
