"""`leeway doctor`: what this machine has, what it lacks, and what to type to get it."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.output import AsJson, console, emit, table

if TYPE_CHECKING:
    from rich.text import Text

    from devices.probe import Finding

PYTHON_MIN = (3, 11)
DISK_FREE_MIN_GB = 1.0  # a repository of small models, a few runs of the demo and their reports
SBIN = "/usr/sbin:/usr/local/sbin"  # Debian keeps mosquitto where only root looks


def doctor(as_json: AsJson = False) -> None:
    """What this machine has, what it lacks, and how to get it.

    A [red]✗[/red] stops Leeway here and makes the exit code 1. A [yellow]·[/yellow] is something it can do without.

    [bold]Examples[/bold]

      leeway doctor

      leeway doctor --json | jq '.findings[] | select(.ok == false)'
    """
    from devices.probe import probe

    findings = [*of_the_command(Path.cwd()), *probe()]
    ready = all(finding.ok is not False for finding in findings)
    shown = table(["", "what", "found", "what to do"], [row(finding) for finding in findings])
    emit({"ready": ready, "findings": findings}, shown, as_json)
    if not as_json:
        console().print("\nLeeway can run here." if ready else "\nLeeway cannot run here yet: see the lines with ✗.")
    raise typer.Exit(0 if ready else 1)


def row(finding: "Finding") -> tuple["Text", str, str, str]:
    from rich.text import Text

    mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "yellow")}[finding.ok]
    return Text(mark, style), finding.name, finding.value, "" if finding.ok else finding.hint


def of_the_command(folder: Path) -> Iterator["Finding"]:
    """What the verbs need around the devices: Python, pictures, a broker, room on the disk, a terminal."""
    yield python()
    yield distribution("OpenCV", "opencv-python-headless", needed=True, hint="pip install opencv-python-headless")
    yield broker()
    yield distribution("demo broker", "amqtt", needed=False, hint="only for `leeway demo`: pip install 'leeway[demo]'")
    yield distribution("report", "matplotlib", needed=False, hint="only for the report: pip install 'leeway[demo]'")
    yield disk(folder)
    yield terminal()


def python() -> "Finding":
    from devices.probe import Finding

    here = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, PYTHON_MIN))
    return Finding("Python", sys.version_info >= PYTHON_MIN, here, f"Leeway needs {wanted} or newer")


def distribution(name: str, package: str, needed: bool, hint: str) -> "Finding":
    """A Python distribution by its metadata: nothing is imported."""
    from devices.probe import Finding

    try:
        return Finding(name, True, f"{package} {version(package)}", "")
    except PackageNotFoundError:
        return Finding(name, False if needed else None, "not installed", hint)


def broker() -> "Finding":
    from devices.probe import Finding

    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=SBIN)
    hint = "for cameras of your own: apt-get install mosquitto, or any MQTT broker in the network"
    return Finding("MQTT broker", True if found else None, found or "no mosquitto here", hint)


def disk(folder: Path) -> "Finding":
    from devices.probe import Finding

    free_gb = shutil.disk_usage(folder).free / 1e9
    hint = f"free some: models, traces and reports want {DISK_FREE_MIN_GB:g} GB"
    return Finding("disk", free_gb >= DISK_FREE_MIN_GB, f"{free_gb:.1f} GB free at {folder}", hint)


def terminal() -> "Finding":
    from devices.probe import Finding

    if not sys.stdout.isatty():
        return Finding(
            "terminal", None, "output goes to a file or pipe", "the live view needs a terminal; the rest does not"
        )
    width = os.get_terminal_size().columns
    return Finding("terminal", True if width >= 80 else None, f"{width} columns", "the live view wants 80 columns")
