"""The CNN of the example, and how it becomes an ONNX file that keeps its batch normalisations. Needs torch."""

import json
from collections.abc import Sequence

import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 17
SIDE = 32


def conv(inputs: int, outputs: int, stride: int = 1, relu: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


class Residual(nn.Module):
    """Two convolutions beside a straight way (He et al., CVPR 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(*conv(channels, channels), *conv(channels, channels, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Network(nn.Module):
    """RGB float32 [N, 3, 32, 32] in 0..1 -> logits [N, classes].

    The first normalisation stands on the picture itself: it takes the place of fixed means and standard deviations,
    and lets a re-alignment see brightness and contrast directly.
    """

    def __init__(self, widths: tuple[int, int, int], classes: int):
        super().__init__()
        a, b, c = widths
        self.body = nn.Sequential(
            nn.BatchNorm2d(3), *conv(3, a), *conv(a, b, 2), Residual(b), *conv(b, c, 2), Residual(c)
        )
        self.head = nn.Linear(c, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class _Graph:
    """Nodes and constants as they come; every node is named after what it makes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: Tensor) -> str:
        self.constants.append(numpy_helper.from_array(value.detach().float().contiguous().numpy(), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def add(self, module: nn.Module, x: str, name: str) -> str:
        match module:
            case nn.Conv2d():
                pads = [*module.padding, *module.padding]
                weight = self.constant(f"{name}.weight", module.weight)
                return self.node("Conv", [x, weight], name, strides=list(module.stride), pads=pads)
            case nn.BatchNorm2d():
                parts = ((key, getattr(module, key)) for key in ("weight", "bias", "running_mean", "running_var"))
                inputs = [x, *(self.constant(f"{name}.{key}", value) for key, value in parts)]
                return self.node("BatchNormalization", inputs, name, epsilon=module.eps, training_mode=0)
            case nn.ReLU():
                return self.node("Relu", [x], name)
            case Residual():
                return self.node("Relu", [self.node("Add", [x, self.add(module.body, x, name)], f"{name}.sum")], name)
            case nn.Sequential():
                for index, part in enumerate(module):
                    x = self.add(part, x, f"{name}.{index}")
                return x
        raise AssertionError(f"no ONNX for {type(module).__name__}")


def load_weights(network: Network, graph: bytes) -> None:
    """Take over what `onnx_of` wrote for a network of the same widths."""
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(graph).graph.initializer]
    places = [value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    with torch.no_grad():
        for place, array in zip(places, arrays, strict=True):  # both in the order of the layers
            place.copy_(torch.from_numpy(array.copy()))


def onnx_of(network: Network, labels: Sequence[str]) -> bytes:
    """The file, written node by node: exporters fold the normalisations into the convolutions, we need them apart."""
    graph = _Graph()
    pooled = graph.node("GlobalAveragePool", [graph.add(network.body, "image", "body")], "pooled")
    features = graph.node("Flatten", [pooled], "features", axis=1)
    head = [graph.constant("head.weight", network.head.weight), graph.constant("head.bias", network.head.bias)]
    graph.node("Gemm", [features, *head], "logits", transB=1)
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(labels)])
    made = helper.make_graph(graph.nodes, "cifar", [picture], [logits], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, {"labels": json.dumps(list(labels))})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
