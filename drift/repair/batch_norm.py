"""Finds, measures and replaces the batch normalisations of an ONNX graph; edits graphs only, and runs none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """Describes one BatchNormalization, the `place`-th node of its graph.

    mean, var: float32 [C], what it normalises with now.
    """

    place: int
    mean: Array
    var: Array


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """Holds a graph whose normalisations take their statistics as inputs and give mean and mean square of their input.

    Layer i, in topological order, has inputs `leeway.mean.i`, `leeway.var.i` and outputs `leeway.seen.i`,
    `leeway.square.i`, each float32 [C], averaged over batch and space.
    """

    graph: bytes
    norms: Sequence[Norm]

    def inputs(self, stats: Sequence[tuple[Array, Array]]) -> dict[str, Array]:
        """Returns the graph's extra inputs by name for these (mean, variance) pairs, each [C], one for each layer."""
        named = {}
        for i, (mean, var) in enumerate(stats):
            named[f"leeway.mean.{i}"] = np.asarray(mean, np.float32)
            named[f"leeway.var.{i}"] = np.asarray(var, np.float32)
        return named


def norms(model: onnx.ModelProto) -> list[Norm]:
    """Returns the batch normalisations in inference mode whose statistics are constants, in topological order."""
    values = _constants(model.graph)
    found = []
    for place, node in enumerate(model.graph.node):
        training = any(a.name == "training_mode" and a.i for a in node.attribute)
        if node.op_type == "BatchNormalization" and not training and all(name in values for name in node.input[3:5]):
            mean, var = (np.asarray(values[name], np.float32) for name in node.input[3:5])
            found.append(Norm(place, mean, var))
    return found


def _constants(graph: onnx.GraphProto) -> Mapping[str, Array]:
    """Returns constant tensors by name: initializers, Constant nodes, and what Identity nodes make of them."""
    values: dict[str, Array] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    return values


def probed(graph: bytes) -> Probed:
    """Makes the normalisations of an ONNX graph measurable; `norms` of the result is empty where it has none."""
    model = onnx.load_from_string(graph)
    layers = norms(model)
    ranks = _ranks(model)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    for i, layer in enumerate(layers):
        node = model.graph.node[layer.place]
        seen = node.input[0]
        for index, role in ((3, "mean"), (4, "var")):
            name = f"leeway.{role}.{i}"
            node.input[index] = name
            model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(layer.mean)]))
        axes = [0, *range(2, ranks.get(seen, 4))]
        _measure(model.graph, seen, f"leeway.seen.{i}", axes, opset)
        model.graph.node.append(helper.make_node("Mul", [seen, seen], [f"leeway.squared.{i}"]))
        _measure(model.graph, f"leeway.squared.{i}", f"leeway.square.{i}", axes, opset)
    return Probed(model.SerializeToString(), layers)


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = [*inferred.value_info, *inferred.input, *inferred.output]
    return {v.name: len(v.type.tensor_type.shape.dim) for v in known if v.type.tensor_type.HasField("shape")}


def _measure(graph: onnx.GraphProto, source: str, name: str, axes: list[int], opset: int) -> None:
    """Appends the mean of a tensor over `axes` as an output of the graph."""
    if opset >= 18:  # axes became an input
        graph.initializer.append(numpy_helper.from_array(np.asarray(axes, np.int64), f"{name}.axes"))
        graph.node.append(helper.make_node("ReduceMean", [source, f"{name}.axes"], [name], keepdims=0))
    else:
        graph.node.append(helper.make_node("ReduceMean", [source], [name], axes=axes, keepdims=0))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def folded(graph: bytes, stats: Sequence[tuple[Array, Array]]) -> bytes:
    """Returns the graph with each normalisation's mean and variance replaced; equal statistics give equal bytes.

    stats: (mean, variance), each [C], for each of `norms`, in that order. Every layer gets constants of its own, since
    exporters let equal ones be shared.
    """
    model = onnx.load_from_string(graph)
    layers = norms(model)
    assert len(layers) == len(stats), f"{len(stats)} statistics for {len(layers)} normalisations"
    for i, (layer, pair) in enumerate(zip(layers, stats, strict=True)):
        node = model.graph.node[layer.place]
        for index, role, value in zip((3, 4), ("mean", "var"), pair, strict=True):
            name = f"leeway.realigned.{role}.{i}"
            _drop(model.graph, name)
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
            node.input[index] = name
    _drop_unused(model.graph)
    return bytes(model.SerializeToString(deterministic=True))


def _drop(graph: onnx.GraphProto, name: str) -> None:
    for tensor in [t for t in graph.initializer if t.name == name]:
        graph.initializer.remove(tensor)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)
