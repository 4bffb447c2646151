"""Simulates a device that only takes its time: tables of durations, noise by a seed, outputs of the right shape."""

import random
import threading
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from devices.interface import DeviceError, OnnxFiles, RunStopped, Tensors, TensorSpec
from devices.traits import Traits

Table = list[tuple[int, float]]  # batch size, ms; ascending


class Simulated(OnnxFiles):
    """Serves without hardware: every graph takes what the table says.

    Args:
        name: names the lane.
        ms_by_batch: batch size -> milliseconds; between two sizes linear, beyond the last one in proportion.
        ms_by_graph: the same for single graphs, by the names of their files (the repository's: digests) or how those
            begin; where several do, the longest counts. All others take `ms_by_batch`.
        noise: standard deviation of a run's duration as a share of it, 0..1; a run never takes less than half of it.
        seed: of the noise and of the outputs.
        memory_mb: limit for the blobs that may be resident at once.
        outputs: "zeros", or "random" = standard normal values, the same for the same seed and order of runs.
    """

    kind = "simulated"
    traits = Traits(stoppable=True)

    def __init__(
        self,
        name: str = "sim0",
        ms_by_batch: Mapping[int | str, float] | None = None,
        noise: float = 0.0,
        seed: int = 0,
        memory_mb: int = 1024,
        outputs: str = "zeros",
        ms_by_graph: Mapping[str, Mapping[int | str, float]] | None = None,
    ):
        if outputs not in ("zeros", "random") or not 0 <= noise <= 1:
            raise DeviceError(f"{name}: outputs must be 'zeros' or 'random', noise between 0 and 1")
        self.name, self.noise, self.outputs = name, noise, outputs
        self.table = _table(f"{name}: ms_by_batch", ms_by_batch or {1: 5.0})
        self.tables = {
            graph: _table(f"{name}: ms_by_graph.{graph}", table) for graph, table in (ms_by_graph or {}).items()
        }
        self.memory_bytes = memory_mb * 1024 * 1024
        self.random = random.Random(seed)

    def load(self, graph: Path, batches: tuple[int, ...] = (1,)) -> "SimulatedEngine":
        """Reads the names and shapes of the graph's inputs and outputs, nothing more. Raises `DeviceError`."""
        try:
            model = onnx.load(str(graph), load_external_data=False)
            constants = {tensor.name for tensor in model.graph.initializer}
            inputs = tuple(_spec(info) for info in model.graph.input if info.name not in constants)
            outputs = tuple(_spec(info) for info in model.graph.output)
        except Exception as error:  # protobuf and the file system have many
            raise DeviceError(f"{self.name}: {graph}: {error}") from None
        return SimulatedEngine(self, inputs, outputs, self._table_of(graph.name))

    def _table_of(self, file: str) -> Table:
        named = [name for name in self.tables if file.startswith(name)]
        return self.tables[max(named, key=len)] if named else self.table

    def enter(self, background: bool) -> None:
        """Does nothing, since a wait needs no cores."""

    def expected_ms(self, batch: int, table: Table | None = None) -> float:
        """Returns what the table says for a batch size, without noise; `None`: the table of all graphs."""
        table = table or self.table
        sizes = [size for size, _ in table]
        at = bisect_left(sizes, batch)
        if at == len(sizes):
            return table[-1][1] * batch / sizes[-1]
        if at == 0 or sizes[at] == batch:
            return table[at][1]
        (low, low_ms), (high, high_ms) = table[at - 1 : at + 1]
        return low_ms + (high_ms - low_ms) * (batch - low) / (high - low)

    def duration_ms(self, batch: int, table: Table | None = None) -> float:
        """Draws what one run of this batch takes, in ms."""
        return self.expected_ms(batch, table) * max(0.5, self.random.gauss(1.0, self.noise))


class SimulatedEngine:
    """Runs a graph by waiting."""

    def __init__(
        self, device: Simulated, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], table: Table
    ):
        self.inputs, self.outputs, self.table = inputs, outputs, table
        self._device = device
        self._stop = threading.Event()
        self._running = self._closed = False

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Waits as long as the table says; returns outputs of the graph's shapes by name.

        Raises `RunStopped` after `stop`, `DeviceError` where an input is missing or misshapen.
        """
        if self._closed:
            raise DeviceError("the engine is closed")
        batch = self._check(inputs)
        self._stop.clear()
        self._running = True
        try:
            if self._stop.wait(self._device.duration_ms(batch, self.table) / 1e3):
                raise RunStopped("stopped")
        finally:
            self._running = False
        return {spec.name: self._made(spec, batch) for spec in self.outputs}

    def _check(self, inputs: Tensors) -> int:
        for spec in self.inputs:
            if spec.name not in inputs:
                raise DeviceError(f"input {spec.name!r} is missing")
            shape = inputs[spec.name].shape
            fits = len(shape) == len(spec.shape) and all(
                want in (None, got) for want, got in zip(spec.shape, shape, strict=True)
            )
            if not fits:
                raise DeviceError(f"input {spec.name!r} has shape {shape}, expected {spec.shape}")
        free = [inputs[s.name].shape[0] for s in self.inputs if s.shape and s.shape[0] is None]
        return free[0] if free else 1

    def _made(self, spec: TensorSpec, batch: int) -> np.ndarray:
        shape = [batch if place == 0 and dim is None else dim or 1 for place, dim in enumerate(spec.shape)]
        if self._device.outputs == "zeros":
            return np.zeros(shape, spec.dtype)
        values = np.random.default_rng(self._device.random.getrandbits(64)).standard_normal(shape)
        return values.astype(spec.dtype)

    def stop(self) -> None:
        """Ends the wait in flight; without one, nothing happens."""
        if self._running:
            self._stop.set()

    def close(self) -> None:
        """Refuses further runs. Idempotent."""
        self._closed = True


def _table(where: str, ms_by_batch: Mapping[int | str, float]) -> Table:
    table = {int(batch): float(ms) for batch, ms in ms_by_batch.items()}
    if not table or min(table) < 1 or min(table.values()) < 0:
        raise DeviceError(f"{where} maps batch sizes >= 1 to milliseconds >= 0")
    return sorted(table.items())


def _spec(info: Any) -> TensorSpec:
    kind = info.type.tensor_type
    shape = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim)
    return TensorSpec(info.name, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, shape)
