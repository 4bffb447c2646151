"""Finds out what a user did not say about a model's input and labels: from the file, or by trials on samples."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import onnx

from porting.errors import UserError
from porting.graph import edit
from porting.graph.imported_model import ImportedModel
from porting.variant import InputSpec

# How exporters' training scripts scale pictures, commonest first. Values per channel, on x in 0..255.
SCALINGS: dict[str, dict[str, Any]] = {
    "x / 255": {"scale": 1 / 255, "mean": (0.0,), "std": (1.0,)},
    "ImageNet mean and std": {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "x / 127.5 - 1": {"scale": 1 / 127.5, "mean": (1.0,), "std": (1.0,)},
    "0..255 as it is": {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
    "CIFAR-10 mean and std": {"scale": 1 / 255, "mean": (0.4914, 0.4822, 0.4465), "std": (0.247, 0.2435, 0.2616)},
}


def input_spec(taken: ImportedModel, given: Mapping[str, Any]) -> InputSpec:
    """Returns how a picture becomes the model's input: from the input's shape, with what the user gave on top.

    given: fields of `InputSpec`; `None` in it counts as not given. Raises `UserError` for what does not fit the model.
    """
    shape = edit.shape_of(taken.input)
    assert shape is not None
    layout = given.get("layout") or taken.layout
    channels, height, width = shape[1:] if layout == "NCHW" else (shape[3], shape[1], shape[2])
    if channels not in (1, 3) or height is None or width is None:
        raise UserError(f"{taken.path}: layout {layout} does not fit the input's shape {list(shape)}")
    color = "gray" if channels == 1 else "rgb"
    dtype = edit.dtype_of(taken.input)
    spec = InputSpec(taken.input.name, width, height, layout, color, dtype=dtype)  # type: ignore[arg-type]
    spec = replace(spec, **{key: value for key, value in given.items() if value is not None})
    if (spec.color == "gray") != (channels == 1):
        raise UserError(f"{taken.path}: colour {spec.color!r} does not fit {channels} channels")
    return spec


def check_given(given: Mapping[str, Any]) -> None:
    """Raises `UserError` for a key that an input does not have."""
    known = [field.name for field in fields(InputSpec) if field.name not in ("name", "dtype")]
    if unknown := sorted(set(given) - set(known)):
        raise UserError(f"input: unknown key {unknown[0]!r}; expected one of {', '.join(known)}")


def best_scaling(spec: InputSpec, accuracy: Callable[[InputSpec], float], margin: float = 0.0) -> tuple[InputSpec, str]:
    """Returns the scaling under which the model does best on labelled samples, and a note that says so.

    accuracy: measures 0..1 with an input. Only called when the user gave none and the input is not integer. A rarer
    scaling must be better than a commoner one by more than the margin: what chance does on few samples is no evidence.
    """
    usable = {name: s for name, s in SCALINGS.items() if spec.color != "gray" or len(s["mean"]) == 1}
    found = {name: accuracy(replace(spec, **scaling)) for name, scaling in usable.items()}
    best = next(iter(found))
    for name, value in found.items():
        best = name if value > found[best] + margin else best
    others = ", ".join(f"{name}: {value:.3f}" for name, value in found.items() if name != best)
    note = f"input scaling was not given: tried out, '{best}' is taken (accuracy {found[best]:.3f}; {others})"
    return replace(spec, **SCALINGS[best]), note


def labels_in(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """Returns the labels that the exporter wrote into the file's metadata; `None` where there are none.

    They are under `names`, `labels` or `classes`, as a list or as {number: name}.
    """
    for entry in model.metadata_props:
        if entry.key in ("names", "labels", "classes"):
            try:
                value = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                continue
            if isinstance(value, dict):
                return tuple(str(value[key]) for key in sorted(value))
            if isinstance(value, list | tuple):
                return tuple(str(name) for name in value)
    return None
