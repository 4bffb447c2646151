"""Reads and edits ONNX graphs in memory with small functions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from devices.interface import TensorSpec

Shape = tuple[int | None, ...]


def shape_of(info: onnx.ValueInfoProto) -> Shape | None:
    """Returns the declared shape, with None for a free dimension; None when not even the rank is declared."""
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim)


def dtype_of(info: onnx.ValueInfoProto) -> str:
    """Returns NumPy's name of the element type, or ONNX's own name where NumPy has none."""
    if not info.type.HasField("tensor_type"):
        return info.type.WhichOneof("value") or "unknown"
    kind = info.type.tensor_type.elem_type
    try:
        return str(helper.tensor_dtype_to_np_dtype(kind).name)
    except KeyError:
        return f"element type {kind}"


def set_shape(info: onnx.ValueInfoProto, shape: Sequence[int | str | None]) -> None:
    """Declares a shape in place: numbers, names of free dimensions, or None for a free dimension without a name."""
    kind = info.type.tensor_type
    info.CopyFrom(helper.make_tensor_value_info(info.name, kind.elem_type, list(shape)))


def producer_of(graph: onnx.GraphProto, tensor: str) -> onnx.NodeProto | None:
    """Returns the node that computes a tensor; None for inputs and initializers."""
    return next((node for node in graph.node if tensor in node.output), None)


def constant(graph: onnx.GraphProto, tensor: str) -> NDArray[Any] | None:
    """Returns the value of a tensor that is fixed in the graph, also behind Identity, Transpose, Reshape and
    ConstantOfShape; else None.
    """
    for initializer in graph.initializer:
        if initializer.name == tensor:
            return numpy_helper.to_array(initializer)
    node = producer_of(graph, tensor)
    if node is None:
        return None
    if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
        return numpy_helper.to_array(node.attribute[0].t)
    values = [constant(graph, name) for name in node.input] if node.op_type in _FOLDED else []
    known = [value for value in values if value is not None]
    return _FOLDED[node.op_type](node, *known) if values and len(known) == len(values) else None


def _filled(node: onnx.NodeProto, shape: NDArray[Any]) -> NDArray[Any]:
    value = attribute(node, "value", None)
    return np.full(
        shape, 0.0 if value is None else numpy_helper.to_array(value)[0], np.float32 if value is None else None
    )


_FOLDED: dict[str, Any] = {  # what exporters put between a weight and its use
    "Identity": lambda node, x: x,
    "Transpose": lambda node, x: x.transpose(attribute(node, "perm", None)),
    "ConstantOfShape": _filled,
    "Reshape": lambda node, x, shape: x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape)]),
}


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Returns the value of a node's attribute, or the default."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields all nodes, including those inside If, Loop and Scan."""
    for node in graph.node:
        yield node
        for a in node.attribute:
            for inner in (a.g, *a.graphs) if a.type in (a.GRAPH, a.GRAPHS) else ():
                yield from nodes_of(inner)


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Renames a tensor everywhere in the model, in place."""
    for node in nodes_of(model.graph):
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == old:
                    names[at] = new
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        if info.name == old:
            info.name = new


def names_in(model: onnx.ModelProto) -> set[str]:
    """Returns the names of all tensors of the model."""
    names = {name for node in nodes_of(model.graph) for name in (*node.input, *node.output)}
    return names | {info.name for info in (*model.graph.input, *model.graph.output, *model.graph.initializer)}


def up_to(model: onnx.ModelProto, output: onnx.ValueInfoProto) -> onnx.ModelProto:
    """Returns the part of a model that computes the tensor `output`, as a new model with that single output."""
    wanted, kept = {output.name}, []
    for node in reversed(model.graph.node):  # topological order is ONNX's law: one pass backwards is enough
        if wanted & set(node.output):
            kept.append(node)
            wanted |= {name for inner in _with_inner(node) for name in inner.input}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    for field in ("node", "output", "initializer", "value_info"):
        part.graph.ClearField(field)
    part.graph.node.extend(reversed(kept))
    part.graph.output.append(output)
    part.graph.initializer.extend(t for t in model.graph.initializer if t.name in wanted)
    return part


def _with_inner(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield node
    for a in node.attribute:
        for inner in (a.g, *a.graphs) if a.type in (a.GRAPH, a.GRAPHS) else ():
            yield from nodes_of(inner)


def append(model: onnx.ModelProto, op: str, shape: Sequence[int | str | None], **attributes: Any) -> None:
    """Appends an operator behind the model's only output, in place; the output keeps its name and gets `shape`."""
    (output,) = model.graph.output
    before = f"{output.name}.before.{op}"
    rename(model, output.name, before)
    model.graph.output[0].name = before.removesuffix(f".before.{op}")
    model.graph.node.append(helper.make_node(op, [before], [model.graph.output[0].name], **attributes))
    set_shape(model.graph.output[0], shape)


def random_input(dtype: str, shape: Sequence[int], seed: int) -> NDArray[Any]:
    """Returns a random stand-in for a real sample: uniform in [0, 1), or in 0..255 for integer types."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "ui":
        return random.integers(0, 256, shape).astype(dtype)
    return random.random(shape).astype(dtype)


def infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with the shapes that ONNX can infer; the model itself where inference fails."""
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # inference is an aid: whether the model is right is decided by running it
        return model


def specs_of(file: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Returns the inputs and outputs of the graph in a file, as an engine would state them. An
    undeclared shape counts as rank 0.
    """
    model = onnx.load(file, load_external_data=False)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = (info for info in model.graph.input if info.name not in constants)
    return tuple(map(_spec_of, inputs)), tuple(map(_spec_of, model.graph.output))


def _spec_of(info: onnx.ValueInfoProto) -> TensorSpec:
    return TensorSpec(info.name, dtype_of(info), shape_of(info) or ())
