"""The example's networks in PyTorch: a detector, small classifiers, and a teacher; and how they become ONNX files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

WIDTH, HEIGHT, STRIDE = 320, 240, 8
OPSET = 17


def block(channels_in: int, channels: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU: kept as three nodes, so that statistics can be re-aligned later."""
    convolution = nn.Conv2d(channels_in, channels, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class Classifier(nn.Module):
    """[N, 3, 32, 32] in 0..1 -> logits [N, K]. The head is one Linear on `widths[-1]` averaged features."""

    def __init__(self, labels: int, widths: Sequence[int], deep: bool = False) -> None:
        super().__init__()
        first, *rest = widths
        layers = [block(3, first)]
        for before, after in zip(widths, rest, strict=False):
            layers += [block(before, after, stride=2), block(after, after)]
            layers += [block(after, after)] if deep else []
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x - 0.5).mean((2, 3)))  # type: ignore[no-any-return]


class Detector(nn.Module):
    """[N, 3, 240, 320] in 0..1 -> [N, 6, 1200]: cx, cy, w, h in input pixels, then scores of vehicle and person.

    One prediction per cell of 8 pixels; a coarser path gives each cell a view of about a hundred pixels around it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(block(3, 12, 2), block(12, 24, 2), block(24, 40, 2), block(40, 40))
        self.coarse = nn.Sequential(block(40, 56, 2), block(56, 56), block(56, 56), block(56, 40, size=1))
        self.mix = block(40, 40)
        self.out = nn.Conv2d(40, 6, 1)
        nn.init.constant_(self.out.bias[4:], -4.0)  # few cells hold an object
        nn.init.constant_(self.out.bias[:4], 0.7)
        ys, xs = torch.meshgrid(torch.arange(HEIGHT // STRIDE), torch.arange(WIDTH // STRIDE), indexing="ij")
        cells = torch.stack([xs, ys]).float() * STRIDE + STRIDE / 2
        self.register_buffer("cells", cells[None].reshape(1, 2, -1))

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distances left, top, right, bottom of the cell's middle in pixels [N, 4, 1200], and logits [N, 2, 1200]."""
        fine = self.stem(x - 0.5)
        coarse = nn.functional.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
        # 240 / 16 = 15 rows and 320 / 16 = 20 columns: doubling them gives back the 30 x 40 cells.
        out = self.out(self.mix(fine + coarse)).flatten(2)
        return nn.functional.softplus(out[:, :4]) * STRIDE, out[:, 4:]

    def forward(self, x: Tensor) -> Tensor:
        sides, logits = self.raw(x)
        centre = self.cells + (sides[:, 2:] - sides[:, :2]) / 2
        return torch.cat([centre, sides[:, :2] + sides[:, 2:], logits.sigmoid()], 1)


def export(model: nn.Module, path: Path, size: tuple[int, int], labels: Sequence[str], output: str) -> None:
    """Writes ONNX with a dynamic batch and its batch normalisation nodes in place; labels go into the metadata."""
    model.eval()
    example = torch.zeros(1, 3, *size)
    torch.onnx.export(
        model,
        (example,),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=["image"],
        output_names=[output],
        dynamic_axes={"image": {0: "batch"}, output: {0: "batch"}},
    )
    proto = onnx.load(path)
    facts = {"labels": json.dumps(list(labels)), "scale": repr(1 / 255), "color": "rgb", "layout": "NCHW"}
    onnx.helper.set_model_props(proto, facts)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
