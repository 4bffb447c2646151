"""Reads questions of the Open Inference Protocol v2 as rows for the core, and makes answers of what came of the rows.

Nothing here knows HTTP: bodies in, bodies out, and `Refused` with a status for what is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np

from devices.interface import Array, TensorSpec
from devices.oip import DATATYPES, WireError, WireMessage, bytes_of, metadata_of, packed, parameters, unpacked
from edge.data.job import TensorInput
from edge.data.picture import Picture
from edge.sources.http.catalogue import Version
from porting.errors import UserError
from porting.graph.edit import specs_of
from porting.repository.repository import Repository
from porting.variant import OutputSpec

GRAPHS_MAX = 256  # whose inputs and outputs are remembered
HEADS_MAX = 16  # sent by others, kept so that equal ones share batches

Key = tuple[tuple[str, ...], str | None, OutputSpec | None]  # graphs, head, and how the last one is read


class Refused(Exception):
    """Refuses a question, with an HTTP status and one line."""

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status = status


@dataclass(frozen=True, slots=True)
class Specs:
    """Describes what a version takes and gives.

    rows: inputs with a row for each item. shared: inputs that all rows share, such as a head. pictures: whether it is a
    model by name, which takes pictures.
    """

    rows: tuple[TensorSpec, ...]
    shared: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    pictures: bool = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.rows + self.shared


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Holds a question for inference, row by row.

    outputs: names, in the order asked for. binary: outputs that are wanted as bytes. timeout_ns: from the client;
    `None` where it named none.
    """

    id: str | None
    rows: tuple[tuple[TensorInput, Picture | None], ...]
    outputs: tuple[str, ...]
    binary: frozenset[str]
    timeout_ns: int | None


class Reader:
    """Reads questions against what the graphs in the repository take."""

    def __init__(self, repository: Repository, rows_max: int):
        self.rows_max = rows_max
        self.heads: dict[str, Mapping[str, Array]] = {}
        self.known: dict[Key, Specs] = {}
        self._graph = lru_cache(GRAPHS_MAX)(lambda digest: specs_of(repository.blob(digest)))
        self._head = lru_cache(GRAPHS_MAX)(lambda digest: frozenset(repository.arrays(digest)))

    def specs(self, version: Version) -> Specs:
        """Returns what a version takes and gives, read from its files, and remembers it in `known`.

        Raises `Refused` with 500 where they are damaged.
        """
        try:
            found = self._specs(version)
        except (UserError, OSError) as error:
            raise Refused(500, str(error)) from None
        if len(self.known) >= GRAPHS_MAX:
            self.known.clear()
        self.known[key_of(version)] = found
        return found

    def _specs(self, version: Version) -> Specs:
        inputs, outputs = self._graph(version.stages[-1].graph)
        if version.bare:
            shared = self._head(version.head) if version.head else frozenset()
            of_head = tuple(spec for spec in inputs if spec.name in shared)
            return Specs(tuple(spec for spec in inputs if spec.name not in shared), of_head, outputs)
        first, output = version.stages[0].input, version.variant.output
        assert first is not None
        assert output is not None
        seen = [spec for stage in version.stages for spec in self._graph(stage.graph)[1]]
        features = [spec for spec in seen if spec.name == output.features and spec not in outputs]
        images = tuple(spec for spec in self._graph(version.stages[0].graph)[0] if spec.name == first.name)
        return Specs(images, (), (*outputs, *features), pictures=True)

    def question(self, body: bytes, json_bytes: int | None, specs: Specs) -> InferRequest:
        """Returns the question that a body holds; json_bytes: as its header says, `None`: all of it is JSON.

        Raises `Refused` with 400 for names, shapes, types and counts that do not fit.
        """
        try:
            head, tensors = unpacked(body, json_bytes, "inputs")
            outputs, binary = wanted(head, specs.outputs)
            timeout_ns = timeout_of(parameters(head))
            said = head.get("id")
            return InferRequest(
                said if said is None else str(said), self._rows(tensors, specs), outputs, binary, timeout_ns
            )
        except WireError as error:
            raise Refused(400, str(error)) from None

    def _rows(self, tensors: Mapping[str, Array], specs: Specs) -> tuple[tuple[TensorInput, Picture | None], ...]:
        known = [spec.name for spec in specs.inputs]
        if strange := sorted(set(tensors) ^ set(known)):
            what = "is missing" if strange[0] in known else "is no input"
            raise WireError(f"{strange[0]!r} {what}; inputs: {', '.join(known)}")
        if specs.pictures and tensors[known[0]].dtype == object:
            pictures = [Picture(bytes(jpeg)) for jpeg in tensors[known[0]].flat]
            self._count({len(pictures)})
            return tuple((TensorInput(), picture) for picture in pictures)
        for spec in specs.rows:
            check(spec, [None, *spec.shape[1:]], tensors[spec.name])
        for spec in specs.shared:
            check(spec, spec.shape, tensors[spec.name])
        count = self._count({len(tensors[spec.name]) for spec in specs.rows})
        head = self._shared({spec.name: tensors[spec.name] for spec in specs.shared})
        return tuple(
            (TensorInput({it.name: tensors[it.name][row] for it in specs.rows}, head), None) for row in range(count)
        )

    def _count(self, counts: set[int]) -> int:
        if len(counts) != 1 or not 1 <= (count := min(counts)) <= self.rows_max:
            said = " and ".join(map(str, sorted(counts)))
            raise WireError(f"{said} rows; expected the same number in each input, from 1 to {self.rows_max}")
        return count

    def _shared(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Returns equal arrays as one object, since by that a lane knows which requests may share a batch."""
        if not arrays:
            return arrays
        key = sha256(b"".join(name.encode() + bytes_of(array) for name, array in arrays.items())).hexdigest()
        kept = self.heads.pop(key, arrays)
        if len(self.heads) >= HEADS_MAX:
            del self.heads[next(iter(self.heads))]
        self.heads[key] = kept  # the last used one at the end
        return kept


def key_of(version: Version) -> Key:
    return tuple(stage.graph for stage in version.stages), version.head, version.variant.output


def check(spec: TensorSpec, shape: Sequence[int | None], array: Array) -> None:
    """Raises `WireError` unless the array has the spec's dtype and this shape, in which `None` is any size."""
    if array.dtype.name != spec.dtype:
        raise WireError(f"{spec.name}: {DATATYPES[array.dtype.name]} given, {DATATYPES.get(spec.dtype)} expected")
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        expected = [-1 if dim is None else dim for dim in shape]
        raise WireError(f"{spec.name}: shape {list(array.shape)} given, {expected} expected")


def wanted(head: Mapping[str, Any], outputs: Sequence[TensorSpec]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Returns the outputs that are asked for (all, where none is named), and those of them that shall be bytes.

    Raises `WireError` for a name that is no output.
    """
    known, tables = [spec.name for spec in outputs], head.get("outputs") or []
    all_bytes = bool(parameters(head).get("binary_data_output", False))
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise WireError("outputs: expected a list of objects with a name")
    names = [table.get("name") for table in tables]
    if unknown := [name for name in names if name not in known]:
        raise WireError(f"{unknown[0]!r} is no output; outputs: {', '.join(known)}")
    as_bytes = {str(table["name"]): bool(parameters(table).get("binary_data", all_bytes)) for table in tables}
    asked = tuple(as_bytes) or tuple(known)
    return asked, frozenset(name for name in asked if as_bytes.get(name, all_bytes))


def timeout_of(given: Mapping[str, Any]) -> int | None:
    """Returns the timeout in ns; `None` where none, or 0, is given in `timeout`.

    The unit there is microseconds, by Triton's schedule policy extension. Raises `WireError` for what is no
    integer, or less than 0.
    """
    timeout = given.get("timeout")
    if timeout is None or timeout == 0:
        return None
    if type(timeout) is not int or timeout < 0:
        raise WireError(f"timeout is {timeout!r}; expected microseconds as a whole number")
    return timeout * 1000


def answer(question: InferRequest, name: str, version: str, tensors: Sequence[Mapping[str, Array]]) -> WireMessage:
    """Returns the message with the outputs of all rows, stacked in the order of the rows."""
    outputs = {name: np.stack([row[name] for row in tensors]) for name in question.outputs}
    head = {"model_name": name, "model_version": version}
    return packed(head if question.id is None else {**head, "id": question.id}, "outputs", outputs, question.binary)


def metadata(name: str, versions: Sequence[str], specs: Specs) -> dict[str, Any]:
    """Returns the answer to a question for a model's metadata, ready for JSON."""
    table: dict[str, Any] = {"name": name, "versions": [*versions], "platform": "onnx_onnxv1"}
    table |= {"inputs": [*map(metadata_of, specs.inputs)], "outputs": [*map(metadata_of, specs.outputs)]}
    return {key: value for key, value in table.items() if key != "versions" or value}
