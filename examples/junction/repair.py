"""Two cheap repairs of a drifted classifier, offline: statistics re-alignment and head retraining with replay.

Written anew with NumPy and ONNX Runtime alone, so that it can check what the daemon does without sharing its code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper


class Network:
    """A classifier file with its features and every input of a batch normalisation within reach."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
        head = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
        self.features, self.logits = head.input[0], model.graph.output[0].name
        weights = {i.name: i for i in model.graph.initializer}
        transposed = any(a.name == "transB" and a.i for a in head.attribute)
        weight = numpy_helper.to_array(weights[head.input[1]])
        self.weight = (weight if transposed else weight.T).copy()  # [K, D]
        self.bias = numpy_helper.to_array(weights[head.input[2]]).copy()

    def run(self, name: str, images: np.ndarray, batch: int = 128) -> np.ndarray:
        """The value of a tensor for uint8 images [n, 32, 32, 3]."""
        probe = onnx.ModelProto()
        probe.CopyFrom(self.model)
        if name != self.logits:
            probe.graph.output.append(helper.make_empty_tensor_value_info(name))
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        # A tensor in the middle exists only where nothing is fused.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feed = session.get_inputs()[0].name
        parts = [images[i : i + batch] for i in range(0, len(images), batch)]
        return np.concatenate([session.run([name], {feed: tensor(part)})[0] for part in parts])


def tensor(images: np.ndarray) -> np.ndarray:
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w] in 0..1."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def realigned(network: Network, images: np.ndarray, weight: float = 1.0) -> Network:
    """A copy whose normalisations carry mean and variance of `images`, layer by layer; no label is used.

    `weight` 0..1 is that of the new statistics beside the old ones (Schneider et al. 2020, section 3).
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(network.model)
    now = Network(copy)
    for norm in now.norms:
        values = now.run(norm.input[0], images)
        _mixed(copy, norm.input[3], values.mean((0, 2, 3)), weight)
        _mixed(copy, norm.input[4], values.var((0, 2, 3)), weight)
    return now


def _mixed(model: onnx.ModelProto, name: str, fresh: np.ndarray, weight: float) -> None:
    stored = next(i for i in model.graph.initializer if i.name == name)
    mixed = (1 - weight) * numpy_helper.to_array(stored) + weight * fresh
    stored.CopyFrom(numpy_helper.from_array(mixed.astype(np.float32), name))


def retrained(
    head: tuple[np.ndarray, np.ndarray],
    new: tuple[np.ndarray, np.ndarray],
    old: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    steps: int = 400,
    half: int = 32,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [K, D] and bias [K] after Adam on batches of half new, half replayed (features [n, D], labels [n])."""
    parameters = np.concatenate([head[0], head[1][:, None]], 1).astype(np.float64)
    start, first, second = parameters.copy(), np.zeros_like(parameters), np.zeros_like(parameters)
    for step in range(1, steps + 1):
        gradient = 2e-3 * (parameters - start)  # stay near the head that is known to work
        for features, labels in (new, old):
            chosen = rng.integers(0, len(labels), half)
            x = np.concatenate([features[chosen], np.ones((half, 1))], 1)
            error = softmax(x @ parameters.T)
            error[np.arange(half), labels[chosen]] -= 1
            gradient += error.T @ x / (2 * half)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        parameters -= 0.01 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return parameters[:, :-1], parameters[:, -1]


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def accuracy(features: np.ndarray, head: Sequence[np.ndarray], labels: np.ndarray) -> float:
    return float(np.mean((features @ head[0].T + head[1]).argmax(1) == labels))
