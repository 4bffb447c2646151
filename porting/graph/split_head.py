"""Cuts a classifier where its head begins: backbone (picture -> features), head (features, weight, bias -> logits).

The head's weight and bias become graph inputs. A retrained head is then a small blob handed over at run time: no graph
is rebuilt, and the same resident graph serves on every device. Batch normalisations stay in the backbone unchanged, so
that their statistics can be re-aligned later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from porting.graph import edit

FEATURES, LOGITS, WEIGHT, BIAS = "features", "logits", "head.weight", "head.bias"
_PASSING = (
    "Identity",
    "Dropout",
    "Flatten",
    "Reshape",
    "Squeeze",
)  # between the logits and the output, with equal rows
_SOFTMAX = ("Softmax", "LogSoftmax")
_STEPS_MAX = 16  # from the output back to the head
OPSET, IR = 13, 8


@dataclass(frozen=True, slots=True)
class HeadTensors:
    """Holds the last linear layer: logits = features @ weight.T + bias."""

    features: str  # tensor that it takes
    weight: NDArray[np.float32]  # [K, D]
    bias: NDArray[np.float32]  # [K]


@dataclass(frozen=True, slots=True)
class SplitModel:
    """Holds a model as stages: a backbone and, where it could be cut, a head with its arrays."""

    backbone: onnx.ModelProto  # the whole model where nothing was cut
    head: onnx.ModelProto | None = None
    arrays: Mapping[str, NDArray[np.float32]] | None = None  # the head's inputs
    note: str = ""

    @property
    def output(self) -> str:
        """Returns the name of the tensor with the result: the logits, or the output of the whole model."""
        return LOGITS if self.head is not None else str(self.backbone.graph.output[0].name)


def strip_softmax(model: onnx.ModelProto) -> str | None:
    """Removes a final Softmax or LogSoftmax in place, so that the classifier gives logits.

    Returns the operator's name, or None when there was none. Heads are trained on logits, and every consumer applies
    the softmax once.
    """
    for node in _towards_input(model.graph):
        if node.op_type in _SOFTMAX:
            stripped = str(node.op_type)
            node.op_type = "Identity"
            node.ClearField("attribute")
            return stripped
    return None


def _towards_input(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Returns the nodes from the output back through those that keep rows, up to the first one
    that computes something.
    """
    nodes: list[onnx.NodeProto] = []
    tensor = graph.output[0].name
    for _ in range(_STEPS_MAX):
        node = edit.producer_of(graph, tensor)
        if node is None:
            break
        nodes.append(node)
        if node.op_type not in (*_PASSING, *_SOFTMAX):
            break
        tensor = node.input[0]
    return nodes


def find_head(model: onnx.ModelProto) -> HeadTensors | str:
    """Returns the classifier's last linear layer, or the reason why none can be cut off."""
    graph = model.graph
    nodes = _towards_input(graph)
    last = nodes[-1] if nodes else None
    if last is None:
        return "its output is its input"
    found = _gemm(graph, last) or _matmul(graph, last)
    if found is None:
        return f"its last layer is {last.op_type}, not a linear one with a fixed weight"
    shape = _declared(model, found.features)
    if shape is not None and len(shape) != 2:
        return f"its last layer takes a tensor of {len(shape)} axes, not rows of features"
    width = (edit.shape_of(graph.output[0]) or (None,))[-1]
    if width is not None and width != len(found.bias):
        return "its last layer's rows are reshaped into the output"
    if found.features == graph.input[0].name:
        return "it is a head and nothing else"
    return found


def _gemm(graph: onnx.GraphProto, node: onnx.NodeProto) -> HeadTensors | None:
    if node.op_type != "Gemm" or edit.attribute(node, "transA", 0):
        return None
    weight = edit.constant(graph, node.input[1])
    bias = edit.constant(graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.float32)
    if weight is None or bias is None:
        return None
    weight = weight if edit.attribute(node, "transB", 0) else weight.T
    alpha, beta = edit.attribute(node, "alpha", 1.0), edit.attribute(node, "beta", 1.0)
    return _head(node.input[0], weight * alpha, bias * beta)


def _matmul(graph: onnx.GraphProto, node: onnx.NodeProto) -> HeadTensors | None:
    """Finds a MatMul with or without an Add behind it, in either order of the Add's inputs."""
    bias: NDArray[np.float32] | None = np.zeros(1, np.float32)
    product: onnx.NodeProto | None = node
    if node.op_type == "Add":
        for at in (0, 1):
            bias, product = edit.constant(graph, node.input[at]), edit.producer_of(graph, node.input[1 - at])
            if bias is not None:
                break
    if bias is None or product is None or product.op_type != "MatMul":
        return None
    weight = edit.constant(graph, product.input[1])
    return None if weight is None else _head(product.input[0], weight.T, bias)


def _head(features: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> HeadTensors | None:
    if weight.ndim != 2 or weight.dtype != np.float32 or bias.size not in (1, len(weight)):
        return None
    full = np.broadcast_to(bias.reshape(-1), len(weight))
    return HeadTensors(features, np.ascontiguousarray(weight, np.float32), np.ascontiguousarray(full, np.float32))


def _declared(model: onnx.ModelProto, tensor: str) -> edit.Shape | None:
    graph = model.graph
    return next((edit.shape_of(info) for info in (*graph.value_info, *graph.input) if info.name == tensor), None)


def split(model: onnx.ModelProto, cut: bool = True) -> SplitModel:
    """Splits a classifier with logits [N, K] into backbone and head; keeps it in one stage, with
    the reason, where it cannot.

    The batch axis is that of the model's input: free, or fixed at 1. With `cut` False the model stays whole without a
    note.
    """
    if not cut:
        return SplitModel(model)
    head = find_head(model)
    if isinstance(head, str):
        return SplitModel(model, note=f"one stage: {head}")
    batch = (edit.shape_of(model.graph.input[0]) or (None,))[0] or "N"
    arrays = {WEIGHT: head.weight, BIAS: head.bias}
    labels, width = head.weight.shape
    return SplitModel(_backbone(model, head, batch), head_graph(labels, width, batch), arrays)


def _backbone(model: onnx.ModelProto, head: HeadTensors, batch: int | str) -> onnx.ModelProto:
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    if FEATURES in edit.names_in(whole) and head.features != FEATURES:
        edit.rename(whole, FEATURES, f"{FEATURES}.inner")
    edit.rename(whole, head.features, FEATURES)
    shape = [batch, head.weight.shape[1]]
    return edit.up_to(whole, helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, shape))


def head_graph(labels: int, width: int, batch: int | str = "N") -> onnx.ModelProto:
    """Builds the graph features [N, D], head.weight [K, D], head.bias [K] -> logits [N, K].
    Equal sizes give equal bytes.
    """

    def value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node("Gemm", [FEATURES, WEIGHT, BIAS], [LOGITS], transB=1)],
        "head",
        [value(FEATURES, [batch, width]), value(WEIGHT, [labels, width]), value(BIAS, [labels])],
        [value(LOGITS, [batch, labels])],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="leeway"
    )


def normalisations(model: onnx.ModelProto) -> int:
    """Counts the batch normalisations left in the graph, i.e. those whose statistics can be re-aligned."""
    return sum(node.op_type == "BatchNormalization" for node in edit.nodes_of(model.graph))
