"""Makes of a graph what a device loads: compiled once while it is ported, refused where a device does not take it."""

import re
import tempfile
from pathlib import Path

from devices.artefact import Artefact, Target
from devices.interface import Device, DeviceError, Engine
from porting.repository.repository import Repository
from porting.variant import Stage, is_step

_KIND = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")


def compiled(device: Device, graph: bytes, batches: tuple[int, ...] = ()) -> Artefact:
    """Returns what the device makes of an ONNX file. `batches`: sizes that it will be run with; empty: unknown.

    Raises `DeviceError` where the device cannot run the graph, or names a kind that is none or that it does not accept.
    """
    made = device.compile(graph, Target(batches))
    if not _KIND.fullmatch(made.kind) or is_step(made.kind):
        raise DeviceError(f"{device.name}: compiles to kind {made.kind!r}, which is no name of a file format")
    if not device.accepts(made.kind):
        raise DeviceError(f"{device.name}: compiles to {made.kind!r}, but does not accept it")
    return made


def load_artefact(device: Device, artefact: Artefact) -> Engine:
    """Loads an artefact that is in memory. Raises `DeviceError`.

    It goes by way of a file, since a load from bytes holds up other threads.
    """
    with tempfile.TemporaryDirectory(prefix="leeway-") as folder:
        path = Path(folder) / f"model.{artefact.kind}"
        path.write_bytes(artefact.content)
        return device.load(path, ())


def load_stage(device: Device, repository: Repository, stage: Stage, batches: tuple[int, ...] = ()) -> Engine:
    """Loads a stage's artefact from the repository, and warms up once per batch size.

    Raises `DeviceError` where the device does not accept its kind or cannot load it, `CorruptBlob` where it is damaged.
    """
    if not device.accepts(stage.kind):
        raise DeviceError(f"{device.name}: a {device.kind} device does not load {stage.kind!r} artefacts")
    return device.load(repository.blob(stage.graph), batches)
