"""Reads and writes tensors of the Open Inference Protocol v2 (KServe, Triton): JSON, and bytes behind the JSON.

The protocol: github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. Bytes behind the
JSON: Triton's binary tensor data extension. Both ends use this file: the lane that asks and the daemon that answers.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from devices.interface import Array, TensorSpec

LENGTH_HEADER = "Inference-Header-Content-Length"  # bytes of JSON, where tensors follow it
EXTENSIONS = ("binary_tensor_data", "schedule_policy", "parameters")

DATATYPES = {
    "bool": "BOOL",
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    "object": "BYTES",  # elements are `bytes`, or what JSON has for it: text
}
DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}

Kind = Literal["inputs", "outputs"]


class WireError(ValueError):
    """Says in one line what is wrong with a message and where."""


@dataclass(frozen=True, slots=True)
class WireMessage:
    """Holds a body, and how many bytes of it are JSON; `None`: all of them."""

    body: bytes
    json_bytes: int | None

    def headers(self) -> dict[str, str]:
        if self.json_bytes is None:
            return {"Content-Type": "application/json"}
        return {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(self.json_bytes)}


# ---- out -----------------------------------------------------------------------------------------------------------


def packed(
    head: Mapping[str, Any], kind: Kind, tensors: Mapping[str, Array], binary: Collection[str] | None = None
) -> WireMessage:
    """Returns a message of `head` with these tensors under the key `kind`.

    binary: names of the tensors that go as bytes behind the JSON; `None`: all of them. Raises `WireError` for an
    element type that the protocol has no name for.
    """
    tables, tail = [], []
    for name, array in tensors.items():
        table: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if binary is None or name in binary:
            tail.append(bytes_of(array))
            table["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            table["data"] = numbers_of(array)
        tables.append(table)
    text = json.dumps({**head, kind: tables}, separators=(",", ":")).encode()
    return WireMessage(b"".join([text, *tail]), len(text) if tail else None)


def datatype_of(array: Array) -> str:
    """Returns the protocol's name for an array's element type. Raises `WireError` where it has none."""
    try:
        return DATATYPES[array.dtype.name]
    except KeyError:
        raise WireError(f"elements of type {array.dtype.name} have no name in the protocol") from None


def bytes_of(array: Array) -> bytes:
    """Returns an array's elements, row by row, little-endian; of type BYTES each with its length in front, 4 bytes."""
    if array.dtype == object:
        elements = [element if isinstance(element, bytes) else str(element).encode() for element in array.flat]
        return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def numbers_of(array: Array) -> list[Any]:
    """Returns an array's elements as a flat list, row by row, ready for JSON.

    Bytes that are no UTF-8 have no place in JSON and are replaced: ask for them as bytes.
    """
    if array.dtype != object:
        return list(array.ravel().tolist())
    return [element.decode(errors="replace") if isinstance(element, bytes) else str(element) for element in array.flat]


def metadata_of(spec: TensorSpec) -> dict[str, Any]:
    """Returns the entry of a tensor in the answer to a question for a model's metadata; -1: a free dimension."""
    shape = [-1 if dim is None else dim for dim in spec.shape]
    return {"name": spec.name, "datatype": DATATYPES.get(spec.dtype, spec.dtype), "shape": shape}


# ---- in ------------------------------------------------------------------------------------------------------------


def unpacked(body: bytes, json_bytes: int | None, kind: Kind) -> tuple[dict[str, Any], dict[str, Array]]:
    """Returns the JSON of a message, and its tensors by name, in order.

    json_bytes: as the header says; `None`: all of the body. Raises `WireError`.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise WireError(f"{LENGTH_HEADER} is {json_bytes}, the body has {len(body)} bytes")
    try:
        head = json.loads(body if json_bytes is None else body[:json_bytes])
    except (ValueError, RecursionError) as error:
        raise WireError(f"the body is not JSON: {error}") from None
    tables = head.get(kind) if isinstance(head, dict) else None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise WireError(f"expected an object with a list of tensors under {kind!r}")
    tail = memoryview(body)[len(body) if json_bytes is None else json_bytes :]
    return head, tensors_of(tables, tail)


def tensors_of(tables: Sequence[Mapping[str, Any]], tail: memoryview) -> dict[str, Array]:
    """Returns the tensors that these tables describe, by name; `tail` is what follows the JSON.

    Raises `WireError` for a name that is missing or taken, for data that does not fit, and for bytes that are left
    over.
    """
    tensors: dict[str, Array] = {}
    for table in tables:
        name, size = table.get("name"), parameters(table).get("binary_data_size")
        if not isinstance(name, str) or name in tensors:
            raise WireError(f"a tensor called {name!r}: expected a name that no other one has")
        if size is None:
            tensors[name] = from_json(name, table)
            continue
        if not isinstance(size, int) or not 0 <= size <= len(tail):
            raise WireError(f"{name}: binary_data_size is {size}, {len(tail)} bytes are left")
        tensors[name] = from_bytes(name, table, tail[:size])
        tail = tail[size:]
    if len(tail):
        raise WireError(f"{len(tail)} bytes are left over behind the tensors")
    return tensors


def parameters(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the parameters of a message or tensor; empty where it has none. Raises `WireError`."""
    given = table.get("parameters") or {}
    if not isinstance(given, dict):
        raise WireError("parameters: expected an object")
    return given


def from_bytes(name: str, table: Mapping[str, Any], data: memoryview) -> Array:
    """Returns a tensor from its bytes, in native byte order; it may share them.

    Raises `WireError` where they do not fit its datatype and shape.
    """
    dtype, shape = dtype_of(name, table), shape_of(name, table)
    if dtype == "object":
        return elements_of(name, data, shape)
    kind = np.dtype(dtype).newbyteorder("<")
    if len(data) != prod(shape) * kind.itemsize:
        raise WireError(f"{name}: {len(data)} bytes do not make {table['datatype']} of shape {list(shape)}")
    return shaped(name, np.frombuffer(data, kind), shape).astype(dtype, copy=False)


def elements_of(name: str, data: memoryview, shape: tuple[int, ...]) -> Array:
    """Returns a BYTES tensor, dtype object of `bytes`; each element has its length in front, four bytes."""
    elements, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            raise WireError(f"{name}: an element is longer than what is left")
        elements.append(bytes(data[at + 4 : end]))
        at = end
    return filled(name, elements, shape)


def from_json(name: str, table: Mapping[str, Any]) -> Array:
    """Returns a tensor from flat or nested lists; texts of a BYTES tensor as UTF-8.

    Raises `WireError` for elements that the datatype does not hold as they are, such as 1.5 or "1" for integers.
    """
    dtype, shape = dtype_of(name, table), shape_of(name, table)
    if "data" not in table:
        raise WireError(f"{name}: has no data")
    if dtype == "object":
        return filled(name, [str(each).encode() for each in np.array(table["data"], object).flat], shape)
    try:
        numbers = (int, float) if np.dtype(dtype).kind == "f" else (int,)  # bool is one of them
        for each in np.array(table["data"], object).flat:  # NumPy would cut 1.5 to 1 and read "1" as a number
            if not isinstance(each, numbers):
                raise ValueError(f"{type(each).__name__} given")
        return np.array(table["data"], dtype).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise WireError(f"{name}: the data does not make {table['datatype']} of shape {list(shape)}: {error}") from None


def filled(name: str, elements: Sequence[bytes], shape: tuple[int, ...]) -> Array:
    """Returns these elements as an array of dtype object and this shape.

    Raises `WireError` where their number does not fit it.
    """
    if len(elements) != prod(shape):
        raise WireError(f"{name}: {len(elements)} elements do not make shape {list(shape)}")
    array = np.empty(len(elements), object)
    array[:] = elements
    return shaped(name, array, shape)


def shaped(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Returns the array in this shape, which has as many elements.

    Raises `WireError` for a shape that NumPy cannot hold, which is possible where there are no elements.
    """
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise WireError(f"{name}: no tensor has the shape {list(shape)}: {error}") from None


def dtype_of(name: str, table: Mapping[str, Any]) -> str:
    """Returns NumPy's name for the tensor's datatype. Raises `WireError`."""
    datatype = table.get("datatype")
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise WireError(f"{name}: datatype is {datatype!r}; expected one of {', '.join(DTYPES)}")
    return DTYPES[datatype]


def shape_of(name: str, table: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the tensor's shape. Raises `WireError` unless it is a list of integers >= 0."""
    shape = table.get("shape")
    if not isinstance(shape, list) or not all(type(dim) is int and dim >= 0 for dim in shape):
        raise WireError(f"{name}: shape is {shape!r}; expected a list of whole numbers")
    return tuple(shape)


def spec_of(table: Mapping[str, Any]) -> TensorSpec:
    """Returns what an entry of a model's metadata describes. Raises `WireError`."""
    name, shape = table.get("name"), table.get("shape")
    if not isinstance(name, str) or not isinstance(shape, list) or not all(type(dim) is int for dim in shape):
        raise WireError(f"{dict(table)} describes no tensor")
    return TensorSpec(name, dtype_of(name, table), tuple(None if dim < 0 else dim for dim in shape))
