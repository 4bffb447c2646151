"""Defines what a device is to the rest of Leeway: something that loads a graph and runs it. Imports no runtime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from devices.artefact import ONNX, Artefact, Target
from devices.traits import Traits, traits_of_kind

Array = NDArray[Any]
Tensors = Mapping[str, Array]


class DeviceError(Exception):
    """Says that a load or a run failed on a device: a fault of the world, not a bug.

    Becomes a `LoadFailed` or `Failed` event, never a traceback.
    """


class RunStopped(DeviceError):
    """Says that the run was ended by `Engine.stop`."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Describes one input or output: its name, its dtype (NumPy's name) and its shape.

    `None` in a shape is a free dimension; the first dimension is the batch.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class DeviceLost(DeviceError):
    """Says that the device is gone, with all that was loaded on it: its lane goes down.

    back: returns whether the device is there again. It is asked now and then, by a thread that has nothing else to do;
    it may take its time, and never raises.
    """

    def __init__(self, reason: str, back: Callable[[], bool]):
        super().__init__(reason)
        self.back = back


class Engine(Protocol):
    """Runs one loaded graph; owned by one lane. Calls block and release the GIL."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Returns all outputs by name, as arrays [batch, …].

        Raises `RunStopped` after `stop`, `DeviceError` when the runtime fails.
        """

    def stop(self) -> None:
        """Asks the call in flight to end at the next operator; does nothing where there is none.

        Called from another thread.
        """

    def close(self) -> None:
        """Gives the memory back. Idempotent."""


class Device(Protocol):
    """Runs one work at a time in one place: on a CPU core set, a GPU, a simulation.

    A device may also have `traits: Traits`; one without is taken for what `traits_of_kind` says of its kind.
    """

    name: str  # unique on this box, e.g. "cpu0"; names the lane
    kind: str  # "cpu", "cuda", "tensorrt", "simulated", "remote": selects profiles
    memory_bytes: int  # limit for the blobs that may be resident at once

    def compile(self, graph: bytes, target: Target) -> Artefact:
        """Returns what this device loads in place of an ONNX file: an engine built ahead, or the file itself.

        Called while a model is ported, once for each stage; it may take minutes. The artefact is stored by its digest,
        so equal graphs and targets should give equal bytes. A device that runs ONNX files returns `graph` unchanged.

        Args:
            graph: the content of an ONNX file without external data.
            target: what the artefact is built for.

        Raises `DeviceError` where the graph has something that this device cannot run.
        """

    def accepts(self, kind: str) -> bool:
        """Returns whether this device loads artefacts of this kind.

        True for what its own `compile` returns. `load` is called only for these; a stage of another kind is left to
        the other lanes. Reads no file and asks no network.
        """

    def load(self, graph: Path, batches: tuple[int, ...] = (1,)) -> Engine:
        """Loads the file of an artefact that it accepts, and warms up once per batch size.

        Raises `DeviceError` where the file is missing, damaged, of a kind that it does not accept, or does not fit.
        """

    def enter(self, background: bool) -> None:
        """Puts the calling thread where work of this device belongs (affinity; the class for background work).

        What the system refuses is left undone: it is an optimisation, not a promise.
        """


class OnnxFiles:
    """Gives a device that runs ONNX files as they are its `compile` and its `accepts`."""

    artefacts: frozenset[str] = frozenset({ONNX})

    def compile(self, graph: bytes, target: Target) -> Artefact:
        """Returns the ONNX file itself, byte by byte."""
        return Artefact(ONNX, graph)

    def accepts(self, kind: str) -> bool:
        """Returns whether the kind is one of `artefacts`."""
        return kind in self.artefacts


def traits_of(device: Device) -> Traits:
    """Returns what the device says of itself; of one that says nothing, what its kind is known for."""
    said: Traits | None = getattr(device, "traits", None)
    return traits_of_kind(device.kind) if said is None else said
