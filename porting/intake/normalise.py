"""Normalises a model to one picture in, one tensor out, a free batch and recent operators, or
refuses it in one line.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter

from devices.interface import Device, DeviceError
from porting.checks.equivalence import TOLERANCE, outputs_of, same, try_outputs
from porting.errors import UserError
from porting.graph import edit
from porting.graph.imported_model import CHANNELS, ImportedModel
from porting.intake.batch_axis import free_batch
from porting.intake.onnx_file import read_model

OPSET_MIN = 13
IR_MIN = 8
DTYPES = ("float32", "float16", "uint8")
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


def take_in(path: Path, device: Device, size: tuple[int, int] | None = None) -> ImportedModel:
    """Loads a model, repairs it where it can, and verifies each repair.

    Args:
        path: the ONNX file; external weights are beside it.
        device: runs parent and child of each repair against each other.
        size: width, height in pixels, for models that leave them open.

    Raises:
        UserError: one line that says why the model is refused.
    """
    taken = ImportedModel(read_model(path), path)
    _drop_constant_inputs(taken)
    _check_single_input(taken)
    _settle_picture(taken, size)
    _check_runs(taken, device)
    _raise_opset(taken, device)
    _infer_shapes(taken)
    taken.batches = free_batch(taken, device)
    _check_graph(taken)
    return taken


def _drop_constant_inputs(taken: ImportedModel) -> None:
    graph = taken.model.graph
    constants = {tensor.name for tensor in graph.initializer}
    extra = [info for info in graph.input if info.name in constants]
    for info in extra:
        graph.input.remove(info)
    if extra:
        taken.repairs.append(f"{len(extra)} weights were listed among the inputs (IR {taken.model.ir_version})")
    taken.model.ir_version = max(taken.model.ir_version, IR_MIN)  # 3 demands that they are listed


def _check_single_input(taken: ImportedModel) -> None:
    graph, path = taken.model.graph, taken.path
    if len(graph.input) != 1:
        names = ", ".join(repr(info.name) for info in graph.input) or "none"
        raise UserError(f"{path}: {len(graph.input)} inputs ({names}); a model of pictures has exactly one")
    if len(graph.output) != 1:
        names = ", ".join(repr(info.name) for info in graph.output) or "none"
        raise UserError(f"{path}: {len(graph.output)} outputs ({names}); export it with the one that matters")
    if not taken.output.type.HasField("tensor_type"):
        kind = edit.dtype_of(taken.output)
        raise UserError(f"{path}: output {taken.output.name!r} is a {kind}, not a tensor; export it without")
    dtype = edit.dtype_of(taken.input)
    if dtype not in DTYPES:
        raise UserError(f"{path}: input {taken.input.name!r} is {dtype}; pictures come as {', '.join(DTYPES)}")


def _settle_picture(taken: ImportedModel, size: tuple[int, int] | None) -> None:
    """Gives the input the shape [batch, …] with known channels, height and width."""
    shape, name, path = edit.shape_of(taken.input), taken.input.name, taken.path
    if shape is None:
        raise UserError(f"{path}: input {name!r} has no shape; export the model with one")
    if len(shape) == 3 and (shape[0] in CHANNELS or shape[2] in CHANNELS):
        shape = _add_batch_axis(taken, shape)
    if len(shape) != 4:
        raise UserError(f"{path}: input {name!r} has shape {_shown(shape)}; [batch, 3, height, width] is expected")
    if shape[1] in CHANNELS:
        tall, wide = 2, 3
    elif shape[3] in CHANNELS:
        tall, wide = 1, 2
    else:
        raise UserError(f"{path}: input {name!r} has shape {_shown(shape)}; no axis holds 1 or 3 channels")
    found = (shape[wide], shape[tall])
    if size is None and None in found:
        raise UserError(f"{path}: input {name!r} leaves its size open ({_shown(shape)}); say it: --input-size 224x224")
    if size is not None and any(have not in (None, want) for have, want in zip(found, size, strict=True)):
        raise UserError(f"{path}: input size {size[0]}x{size[1]} asked, the model takes {found[0]}x{found[1]}")
    if size is not None and None in found:
        shape = tuple({wide: size[0], tall: size[1]}.get(at, dim) for at, dim in enumerate(shape))
        edit.set_shape(taken.input, shape)
        taken.repairs.append(f"input size was open, set to {size[0]}x{size[1]}")
        _forget_shapes(taken.model)


def _add_batch_axis(taken: ImportedModel, shape: edit.Shape) -> edit.Shape:
    """Adds a batch axis of size 1 to an input without one, and to the output."""
    model, name = taken.model, taken.input.name
    out = edit.shape_of(taken.output)
    edit.rename(model, name, f"{name}.picture")
    model.graph.input[0].name = name
    axes = onnx.numpy_helper.from_array(np.array([0], np.int64), f"{name}.axes")
    model.graph.initializer.append(axes)
    recent = _opset(model) >= OPSET_MIN
    model.graph.node.insert(0, _with_axes("Squeeze", name, f"{name}.picture", axes.name, recent))
    edit.set_shape(model.graph.input[0], [1, *shape])
    if out is not None and (not out or out[0] != 1):
        _unsqueeze_output(model, axes.name, recent, out)
    _forget_shapes(model)
    taken.repairs.append("the input had no batch axis")
    return (1, *shape)


def _unsqueeze_output(model: onnx.ModelProto, axes: str, recent: bool, shape: edit.Shape) -> None:
    name = model.graph.output[0].name
    edit.rename(model, name, f"{name}.row")
    model.graph.output[0].name = name
    model.graph.node.append(_with_axes("Unsqueeze", f"{name}.row", name, axes, recent))
    edit.set_shape(model.graph.output[0], [1, *shape])


def _with_axes(op: str, tensor: str, result: str, axes: str, recent: bool) -> onnx.NodeProto:
    """Returns a Squeeze or Unsqueeze of axis 0: since operator set 13 the axes are an input."""
    if recent:
        return onnx.helper.make_node(op, [tensor, axes], [result])
    return onnx.helper.make_node(op, [tensor], [result], axes=[0])


def _check_runs(taken: ImportedModel, device: Device) -> None:
    """Runs the model once as it is, so that every later failure is known to come from a repair."""
    shape = edit.shape_of(taken.input)
    assert shape is not None
    try:
        outputs_of(device, taken.model, taken.sample(shape[0] or 1))
    except DeviceError as error:
        foreign = sorted({f"{n.domain}::{n.op_type}" for n in edit.nodes_of(taken.model.graph) if _foreign(taken, n)})
        if foreign:
            raise UserError(f"{taken.path}: operator {', '.join(foreign)} is unknown to ONNX Runtime") from None
        raise UserError(f"{taken.path}: does not run: {_brief(error)}") from None


def _foreign(taken: ImportedModel, node: onnx.NodeProto) -> bool:
    local = {(function.domain, function.name) for function in taken.model.functions}
    return node.domain not in DOMAINS and (node.domain, node.op_type) not in local


def _raise_opset(taken: ImportedModel, device: Device) -> None:
    before = _opset(taken.model)
    if before >= OPSET_MIN:
        return
    shape = edit.shape_of(taken.input)
    sample = taken.sample((shape or (1,))[0] or 1)
    try:
        child = version_converter.convert_version(taken.model, OPSET_MIN)
    except Exception as error:  # the converter is C++: it raises RuntimeError and others
        taken.notes.append(f"operator set {before} stays: the converter says {' '.join(str(error).split())[:120]}")
        return
    parent_says, child_says = outputs_of(device, taken.model, sample), try_outputs(device, child, sample)
    if child_says is None or not same(parent_says, child_says, TOLERANCE):
        taken.notes.append(f"operator set {before} stays: converted to {OPSET_MIN} the model answers otherwise")
        return
    taken.model = child
    taken.repairs.append(f"operator set {before} converted to {OPSET_MIN}; outputs are the same")


def _infer_shapes(taken: ImportedModel) -> None:
    """Infers the shapes that the file leaves out. Raises `UserError` when the output's shape stays unknown."""
    had = edit.shape_of(taken.output)
    inferred = edit.infer(taken.model)
    if had is None:
        if edit.shape_of(inferred.graph.output[0]) is None:
            raise UserError(f"{taken.path}: the output's shape is neither declared nor can it be inferred")
        taken.repairs.append("the output's shape was missing")
    taken.model = inferred


def _forget_shapes(model: onnx.ModelProto) -> None:
    model.graph.ClearField("value_info")


def _check_graph(taken: ImportedModel) -> None:
    try:
        onnx.checker.check_model(taken.model)
    except Exception as error:
        raise UserError(f"{taken.path}: breaks the ONNX standard: {_brief(error)}") from None


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split()).split("model.onnx: ", 1)[-1][:200]


def _shown(shape: edit.Shape) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"
