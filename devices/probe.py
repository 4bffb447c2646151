"""Finds out what this machine has, what is missing, and how to get it. Returns data; printing is done elsewhere."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from devices.cpu import installed_runtimes


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """Holds one line of the doctor's report."""

    name: str
    state: Literal["ok", "missing", "broken"]
    detail: str
    remedy: str = ""  # what to type; empty when all is well
    needed: bool = False  # False: something works without it


def probe() -> list[DoctorFinding]:
    """Looks at this machine; takes well under a second without a GPU, starts no service, changes nothing."""
    return [
        _cpu(),
        _memory(),
        _batch_class(),
        _runtime(),
        *(_package(*row) for row in PACKAGES),
        _gpu(),
        _program("mosquitto", "MQTT broker for real cameras", "sudo apt-get install mosquitto"),
        _program("ffmpeg", "to make and look at video files", "sudo apt-get install ffmpeg"),
    ]


# Rows: distribution, what it is for, how to get it, whether Leeway needs it.
PACKAGES = [
    ("onnx", "reads and cuts models", "pip install onnx", True),
    ("opencv-python-headless", "resizes frames, opens videos", "pip install opencv-python-headless", True),
    ("simplejpeg", "decodes frames", "pip install simplejpeg", True),
    ("paho-mqtt", "MQTT client", "pip install paho-mqtt", True),
    ("amqtt", "embedded broker of the demo", "pip install amqtt", False),
    ("matplotlib", "pictures of the report", "pip install matplotlib", False),
    ("starlette", "answers tensors over HTTP", "pip install starlette uvicorn", False),
    ("uvicorn", "answers tensors over HTTP", "pip install starlette uvicorn", False),
    ("torch", "trains the example models anew", "pip install torch", False),
]


def fingerprint() -> dict[str, str | int]:
    """Returns what a measurement depends on, ready for JSON; stored beside every profile."""
    return {
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version for name in ("onnx", *installed_runtimes()) if (version := _version(name))},
    }


def cpu_model() -> str:
    """Returns the name of the processor as the system tells it."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith(("model name", "Model", "Hardware")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu() -> DoctorFinding:
    return DoctorFinding("processor", "ok", f"{cpu_model()}, {len(os.sched_getaffinity(0))} cores usable", needed=True)


def _memory() -> DoctorFinding:
    table = _meminfo()
    total, free = table.get("MemTotal", 0), table.get("MemAvailable", 0)
    return DoctorFinding("memory", "ok", f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB available", needed=True)


def _batch_class() -> DoctorFinding:
    if hasattr(os, "SCHED_BATCH"):
        return DoctorFinding("batch class", "ok", "background work runs in SCHED_BATCH")
    return DoctorFinding("batch class", "missing", "background work shares the normal class", "run on Linux")


def _runtime() -> DoctorFinding:
    found = installed_runtimes()
    if len(found) > 1:
        remedy = f"pip uninstall -y {' '.join(found)} && pip install onnxruntime"
        return DoctorFinding("onnxruntime", "broken", f"{' and '.join(found)} break each other", remedy, needed=True)
    if not found:
        return DoctorFinding("onnxruntime", "missing", "runs models on the CPU", "pip install onnxruntime", needed=True)
    return DoctorFinding("onnxruntime", "ok", f"{found[0]} {_version(found[0])}", needed=True)


def _package(name: str, purpose: str, remedy: str, needed: bool) -> DoctorFinding:
    version = _version(name)
    if version is None:
        return DoctorFinding(name, "missing", purpose, remedy, needed)
    return DoctorFinding(name, "ok", f"{version}, {purpose}", needed=needed)


def _program(name: str, purpose: str, remedy: str) -> DoctorFinding:
    # Debian puts daemons where an ordinary user's PATH does not look.
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    return DoctorFinding(name, "ok", f"{path}, {purpose}") if path else DoctorFinding(name, "missing", purpose, remedy)


def _gpu() -> DoctorFinding:
    remedy = "install the NVIDIA driver if this machine has such a GPU"
    if not (tool := shutil.which("nvidia-smi")):
        return DoctorFinding("NVIDIA GPU", "missing", "nvidia-smi not found", remedy)
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return DoctorFinding("NVIDIA GPU", "broken", f"nvidia-smi: {error}", remedy)
    if said.returncode != 0:
        return DoctorFinding("NVIDIA GPU", "broken", " ".join((said.stderr or said.stdout).split())[:200], remedy)
    return DoctorFinding("NVIDIA GPU", "ok", "; ".join(said.stdout.strip().splitlines()))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _meminfo() -> dict[str, int]:
    rows = (line.split() for line in _lines("/proc/meminfo"))
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) >= 2}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
