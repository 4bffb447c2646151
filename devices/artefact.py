"""Defines what a device loads, as plain data: a file's content and the name of its format."""

from dataclasses import dataclass

ONNX = "onnx"  # the kind of an artefact that is an ONNX file


@dataclass(frozen=True, slots=True)
class Target:
    """Says what an artefact is to be built for. More fields may come; each has a default."""

    batches: tuple[int, ...] = ()  # sizes that it will be run with, ascending; empty: unknown


@dataclass(frozen=True, slots=True)
class Artefact:
    """Holds what a device's compiler made of a graph."""

    kind: str  # names the file format, e.g. "onnx"; part of the identity of the stage that it becomes
    content: bytes
