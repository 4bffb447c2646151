"""ONNX models as exporters write them, built by hand: no download, no training."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from devices.cpu import Cpu


def tensor(name: str, values: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def value(name: str, shape: Any, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(nodes: Any, inputs: Any, outputs: Any, weights: Any = (), opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "model", list(inputs), list(outputs), list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def normalisation(random: np.random.Generator, name: str, channels: int) -> list[onnx.TensorProto]:
    values = {"s": random.random(channels) + 0.5, "b": random.normal(size=channels)}
    values |= {"m": random.normal(size=channels), "v": random.random(channels) + 0.5}
    return [tensor(f"{name}.{key}", array) for key, array in values.items()]


def mobile(
    *,
    size: int = 32,
    labels: int = 5,
    width: int = 16,
    batch: int | str = "N",
    softmax: bool = True,
    head: str = "gemm",
    reshape: list[int] | None = None,
    opset: int = 17,
    ir: int = 8,
    initializers_listed: bool = False,
    output_shape: bool = True,
    seed: int = 0,
) -> onnx.ModelProto:
    """Conv-BN-ReLU6, depthwise-BN, pointwise-BN, pool, head: MobileNet in small. The head comes in several writings."""
    random = np.random.default_rng(seed)
    weights = [tensor("c1.w", random.normal(size=(8, 3, 3, 3)) * 0.3), *normalisation(random, "n1", 8)]
    weights += [tensor("c2.w", random.normal(size=(8, 1, 3, 3)) * 0.3), *normalisation(random, "n2", 8)]
    weights += [tensor("c3.w", random.normal(size=(width, 8, 1, 1)) * 0.3), *normalisation(random, "n3", width)]
    bn = {name: [f"{name}.{key}" for key in "sbmv"] for name in ("n1", "n2", "n3")}
    nodes = [
        helper.make_node("Conv", ["image", "c1.w"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", *bn["n1"]], ["b1"]),
        helper.make_node("Relu", ["b1"], ["r1"]),
        helper.make_node("Conv", ["r1", "c2.w"], ["c2"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c2", *bn["n2"]], ["b2"]),
        helper.make_node("Relu", ["b2"], ["r2"]),
        helper.make_node("Conv", ["r2", "c3.w"], ["c3"]),
        helper.make_node("BatchNormalization", ["c3", *bn["n3"]], ["b3"]),
        helper.make_node("GlobalAveragePool", ["b3"], ["pool"]),
    ]
    if reshape is None:
        nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    else:
        weights.append(tensor("target", reshape, np.int64))
        nodes.append(helper.make_node("Reshape", ["pool", "target"], ["flat"]))
    last = "logits0" if softmax else "out"
    weight, bias = random.normal(size=(labels, width)), random.normal(size=labels)
    if head == "gemm":
        weights += [tensor("fc.w", weight), tensor("fc.b", bias)]
        nodes.append(helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], [last], transB=1))
    elif head == "gemm-untransposed":
        weights += [tensor("fc.w", weight.T), tensor("fc.b", bias)]
        nodes.append(helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], [last], alpha=0.5, beta=2.0))
    elif head == "matmul-add":
        weights += [tensor("fc.w", weight.T), tensor("fc.b", bias)]
        nodes += [helper.make_node("MatMul", ["flat", "fc.w"], ["mm"]), helper.make_node("Add", ["fc.b", "mm"], [last])]
    elif head == "matmul":
        weights += [tensor("fc.w", weight)]
        nodes += [
            helper.make_node("Transpose", ["fc.w"], ["fc.t"], perm=[1, 0]),
            helper.make_node("MatMul", ["flat", "fc.t"], [last]),
        ]
    elif head == "conv":
        weights += [tensor("fc.w", weight[:, :, None, None]), tensor("fc.b", bias)]
        nodes[-1] = helper.make_node("Conv", ["pool", "fc.w", "fc.b"], ["fc"])
        nodes.append(helper.make_node("Flatten", ["fc"], [last]))
    if softmax:
        nodes.append(helper.make_node("Softmax", [last], ["out"], axis=1))
    inputs = [value("image", [batch, 3, size, size])]
    if initializers_listed:
        inputs += [value(t.name, t.dims, t.data_type) for t in weights]
    outputs = [value("out", [batch, labels] if output_shape else None)]
    return model_of(nodes, inputs, outputs, weights, opset, ir)


def detector(*, labels: int = 2, cells: int = 30, transposed: bool = False) -> onnx.ModelProto:
    """[N, 3, 32, 32] -> [N, 4 + K, M], by one convolution and a reshape."""
    random = np.random.default_rng(0)
    rows = 4 + labels
    weights = [tensor("w", random.normal(size=(rows, 3, 8, 8)) * 0.1), tensor("t", [0, rows, -1], np.int64)]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], strides=[8, 8]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Reshape", ["s", "t"], ["rows" if transposed else "out"]),
    ]
    if transposed:
        nodes.append(helper.make_node("Transpose", ["rows"], ["out"], perm=[0, 2, 1]))
    shape = ["N", 16, rows] if transposed else ["N", rows, 16]
    return model_of(nodes, [value("image", ["N", 3, 32, 32])], [value("out", shape)], weights)


@pytest.fixture(scope="session")
def models() -> SimpleNamespace:
    return SimpleNamespace(mobile=mobile, detector=detector, tensor=tensor, value=value, model_of=model_of)


@pytest.fixture(scope="session")
def cpu() -> Cpu:
    return Cpu(threads=1)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Write a model to a file; returns its path."""

    def save(model: onnx.ModelProto, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return save
