"""Reads an ONNX file into memory, or says in one line why it cannot."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from porting.errors import UserError

BYTES_MAX = 2**31 - 1  # of one protobuf message: a law of the format


def read_model(path: Path) -> onnx.ModelProto:
    """Returns the model with all its weights.

    Raises:
        UserError: not ONNX, truncated, external data missing, or larger than the 2 GiB of one protobuf message.
    """
    model = _parse(path, _read(path))
    _check_external(path, model)
    try:
        load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises whatever its C++ half does
        raise UserError(f"{path}: external weights cannot be read: {_one_line(error)}") from None
    if model.ByteSize() > BYTES_MAX:
        raise UserError(f"{path}: {model.ByteSize() / 2**30:.1f} GiB with its weights; at most 2 GiB can be ported")
    return model


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not content:
        raise UserError(f"{path}: the file is empty")
    if content.startswith(b"version https://git-lfs"):
        raise UserError(f"{path}: a Git LFS pointer, not the model itself; run 'git lfs pull'")
    return content


def _parse(path: Path, content: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    looks_right = content[0] == 0x08  # field 1, the format's version: the first thing that exporters write
    try:
        model.ParseFromString(content)
    except DecodeError:
        reason = "an ONNX file that is truncated or damaged" if looks_right else "not an ONNX file"
        raise UserError(f"{path}: {reason}") from None
    if not model.ir_version or not (model.graph.node or model.graph.input):
        raise UserError(f"{path}: {'a truncated ONNX file' if looks_right else 'not an ONNX file'}: it holds no graph")
    if not model.opset_import and model.ir_version >= 3:
        raise UserError(f"{path}: a truncated ONNX file: it names no operator set")
    return model


def _check_external(path: Path, model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            beside = ExternalDataInfo(tensor).location
            if not (path.parent / beside).is_file():
                raise UserError(f"{path}: its weights are in {beside!r}, which is missing; put it beside the model")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
