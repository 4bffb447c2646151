"""What a device is to the rest of Leeway: something that loads a graph and runs it. Nothing here imports a runtime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Mapping[str, Array]


class DeviceError(Exception):
    """Weather on a device: a load or a run failed. Becomes a `LoadFailed` or `Failed` event, never a traceback."""


class RunStopped(DeviceError):
    """The run was ended by `Engine.stop`."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype (NumPy's name), shape of one input or output; `None` is a free dimension, the first one the batch."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class DeviceLost(DeviceError):
    """The device is gone, with all that was loaded on it: its lane goes down. `back` says whether it is there again.

    `back` is asked now and then, by a thread that has nothing else to do; it may take its time, and never raises.
    """

    def __init__(self, reason: str, back: Callable[[], bool]):
        super().__init__(reason)
        self.back = back


class Engine(Protocol):
    """One loaded graph, owned by one lane. Calls block and release the GIL."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """All outputs by name. Raises `RunStopped` after `stop`, `DeviceError` when the runtime fails."""

    def stop(self) -> None:
        """From another thread: ask the call in flight to end at the next operator. None in flight: nothing happens."""

    def close(self) -> None:
        """Give the memory back. Idempotent."""


class Device(Protocol):
    """One place where work runs, one work at a time: a CPU core set, a GPU, a simulation."""

    name: str  # unique on this box, e.g. "cpu0"; names the lane
    kind: str  # "cpu", "cuda", "tensorrt", "simulated", "remote": selects profiles
    memory_bytes: int  # limit for the blobs that may be resident at once

    def load(self, graph: Path, batches: tuple[int, ...] = (1,)) -> Engine:
        """Load by path, warm up once per batch size. Raises `DeviceError`."""

    def enter(self, background: bool) -> None:
        """Put the calling thread where work of this device belongs (affinity; the class for background work).
        What the system refuses is left undone: it is an optimisation, not a promise."""
