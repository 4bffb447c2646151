"""Runs ONNX Runtime on CPU cores that the config names: no hidden threads, no spinning, no silent second try.

Facts that this file relies on, each guarded by a test (tests/devices/test_cpu.py): `RunOptions.terminate` ends a run at
the next operator, and stays set, hence one RunOptions per run; a load by path lets other threads run meanwhile, a load
from bytes does not; a session that fails on its provider tries another one unless `enable_fallback=0`; pool threads
inherit the affinity of the thread that makes the session.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from devices.interface import DeviceError, OnnxFiles, RunStopped, Tensors, TensorSpec
from devices.traits import Traits

try:
    import onnxruntime as ort
except ImportError:  # said by `Cpu`, with the way out
    ort = None

RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
BACKGROUND = {"batch": "SCHED_BATCH", "normal": "SCHED_OTHER", "idle": "SCHED_IDLE"}  # names in `os`, where it has them
_DTYPES = {"float": "float32", "double": "float64", "bool": "bool", "string": "object"}
_SILENT = 4  # ONNX Runtime's log level: fatal only; what fails is raised, not printed as well


class Cpu(OnnxFiles):
    """Runs graphs on some cores of this machine.

    Args:
        name: names the lane.
        threads: of one run; 1 = all work on the calling thread. With two busy models one thread each is faster.
        cores: which ones, e.g. [0, 1]; `None`: wherever the system puts the threads.
        memory_mb: limit for the blobs that may be resident at once.
        background: how the system schedules work without a deadline. "batch" = SCHED_BATCH, where there is such a
            class: its thread never preempts another one. "normal" = as the rest. "idle" = SCHED_IDLE: only time that
            no process wants. Beware: what is scheduled so rarely still holds Python's lock while it waits for its
            turn; where other processes fill the cores, the whole daemon then stands still for seconds (measured:
            docs/decisions/0008-background-class.md).

    Raises:
        DeviceError: no ONNX Runtime, or two of them, or cores that this machine does not have, or options out of range.
    """

    kind = "cpu"
    traits = Traits(stoppable=True)

    def __init__(
        self,
        name: str = "cpu0",
        threads: int = 1,
        cores: Sequence[int] | None = None,
        memory_mb: int = 1024,
        background: str = "batch",
    ):
        check_runtime()
        if threads < 1 or background not in BACKGROUND:
            raise DeviceError(f"{name}: threads must be at least 1 and background one of {', '.join(BACKGROUND)}")
        if cores is not None and not set(cores) <= os.sched_getaffinity(0):
            raise DeviceError(f"{name}: cores {sorted(cores)}: this process may use {sorted(os.sched_getaffinity(0))}")
        self.name, self.threads, self.background = name, threads, background
        self.cores = None if cores is None else frozenset(cores)
        self.memory_bytes = memory_mb * 1024 * 1024

    def load(self, graph: Path, batches: tuple[int, ...] = (1,)) -> "CpuEngine":
        """Loads the graph by path and warms up once per batch size. Raises `DeviceError`."""
        try:
            with self._pinned():
                session = ort.InferenceSession(
                    str(graph), self._options(), providers=["CPUExecutionProvider"], enable_fallback=0
                )
            engine = CpuEngine(session)
            engine.warm_up(batches)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise DeviceError(f"{self.name}: {graph}: {one_line(error)}") from None
        return engine

    def enter(self, background: bool) -> None:
        """Puts the calling thread on this device's cores, and background work in its scheduling class. Never raises."""
        if self.cores is not None:
            with suppress(OSError):
                os.sched_setaffinity(0, self.cores)
        if background:
            # The caller is a thread that does nothing else: on old kernels no thread may leave SCHED_IDLE again.
            with suppress(OSError, AttributeError):
                os.sched_setscheduler(0, getattr(os, BACKGROUND[self.background]), os.sched_param(0))

    def _options(self) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _SILENT
        return options

    @contextmanager
    def _pinned(self) -> Iterator[None]:
        """Pins this thread while pool threads are made, since they keep the affinity that their maker had."""
        before = os.sched_getaffinity(0)
        try:
            if self.cores is not None:
                os.sched_setaffinity(0, self.cores)
            yield
        finally:
            os.sched_setaffinity(0, before)


class _RunInFlight:
    """Holds one run in flight. The flag is ours, since the text of the runtime's exception is no interface."""

    __slots__ = ("options", "stopped")

    def __init__(self) -> None:
        self.stopped = False
        self.options = ort.RunOptions()
        self.options.log_severity_level = _SILENT


class CpuEngine:
    """Runs one session. `run` belongs to one thread at a time; `stop` and `close` may come from others."""

    def __init__(self, session: Any):
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self._session: Any = session
        self._call: _RunInFlight | None = None

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Returns the outputs by name. Raises `RunStopped` after `stop`, `DeviceError` where it fails or gives NaN."""
        session = self._session  # held here: a session that is released while it runs takes the process with it
        if session is None:
            raise DeviceError("the engine is closed")
        call = self._call = _RunInFlight()
        try:
            arrays = session.run(self._names, inputs, call.options)
        except Exception as error:
            raise RunStopped("stopped") if call.stopped else DeviceError(one_line(error)) from None
        finally:
            self._call = None
        outputs = dict(zip(self._names, arrays, strict=True))
        _check_finite(outputs)
        return outputs

    def stop(self) -> None:
        """Asks the call in flight to end at the next operator. It may still complete: then it counts as done."""
        call = self._call
        if call is not None:  # if it ended meanwhile, this touches an object that is not used again
            call.stopped = True
            call.options.terminate = True

    def close(self) -> None:
        """Gives the memory back, once the call in flight has ended. Idempotent."""
        self._session = None

    def warm_up(self, batches: Sequence[int]) -> None:
        """Runs once per batch size on zeros, so that the first frame does not pay for it.

        Does nothing where a dimension other than the batch is free.
        """
        if any(None in spec.shape[1:] for spec in self.inputs):
            return
        for batch in batches:
            zeros = {s.name: np.zeros([batch if d is None else d for d in s.shape], s.dtype) for s in self.inputs}
            self._session.run(self._names, zeros)


def _check_finite(outputs: dict[str, np.ndarray]) -> None:
    for name, array in outputs.items():
        if array.dtype.kind != "f" or math.isfinite(np.add.reduce(array, axis=None)):
            continue  # the sum alone costs half of looking at each; it may overflow where no element does
        if not np.isfinite(array).all():
            raise DeviceError(f"output {name!r} holds NaN or Inf")


def _spec(node: Any) -> TensorSpec:
    if not node.type.startswith("tensor("):
        raise DeviceError(f"{node.name!r} is a {node.type}, not a tensor")
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(dim if isinstance(dim, int) and dim > 0 else None for dim in node.shape)
    return TensorSpec(node.name, _DTYPES.get(kind, kind), shape)


def one_line(error: BaseException) -> str:
    """Returns an exception as one line of at most 300 characters, for a log or a terminal."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def check_runtime() -> None:
    """Raises `DeviceError` unless exactly one ONNX Runtime is installed: two of them overwrite each other's files."""
    found = installed_runtimes()
    if len(found) > 1:
        raise DeviceError(
            f"{' and '.join(found)} are both installed and break each other: pip uninstall -y {' '.join(found)}; "
            "then pip install the one that fits this machine"
        )
    if ort is None:
        raise DeviceError("ONNX Runtime is missing: pip install onnxruntime (or onnxruntime-gpu with an NVIDIA GPU)")


def installed_runtimes() -> list[str]:
    """Returns the names of the installed distributions that bring the package `onnxruntime`."""
    found = []
    for name in RUNTIMES:
        with suppress(metadata.PackageNotFoundError):
            metadata.distribution(name)
            found.append(name)
    return found
