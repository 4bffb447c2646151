"""Implements `leeway doctor`, which shows what this machine has, what it lacks, and what to type to get it."""

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.output import AsJson, console, emit, table

if TYPE_CHECKING:
    from rich.text import Text

    from devices.probe import DoctorFinding

PYTHON_MIN = (3, 11)
DISK_FREE_MIN_GB = 1.0  # a repository of small models, a few runs of the demo and their reports
COLUMNS_MIN = 80


def doctor(as_json: AsJson = False) -> None:
    """Show what this machine has, what it lacks, and how to get it.

    A [red]✗[/red] stops Leeway here and makes the exit code 1. A [yellow]·[/yellow] is something it can do without.

    [bold]Examples[/bold]

      leeway doctor

      leeway doctor --json | jq '.findings[] | select(.state != "ok")'
    """
    from devices.probe import probe

    findings = [python(), *probe(), disk(Path.cwd()), terminal()]
    ready = all(finding.state == "ok" for finding in findings if finding.needed)
    shown = table(["", "what", "found", "what to do"], [row(finding) for finding in findings])
    emit({"ready": ready, "findings": findings}, shown, as_json)
    if not as_json:
        console().print("\nLeeway can run here." if ready else "\nLeeway cannot run here yet: see the lines with ✗.")
    raise typer.Exit(0 if ready else 1)


def row(finding: "DoctorFinding") -> tuple["Text", str, str, str]:
    """Returns the cells of a finding."""
    from rich.text import Text

    mark, style = ("✓", "green") if finding.state == "ok" else ("✗", "red") if finding.needed else ("·", "yellow")
    return Text(mark, style), finding.name, finding.detail, finding.remedy


def python() -> "DoctorFinding":
    """Reports whether this Python is recent enough."""
    from devices.probe import DoctorFinding

    fits = sys.version_info >= PYTHON_MIN
    wanted = ".".join(map(str, PYTHON_MIN))
    remedy = "" if fits else f"install Python {wanted} or newer, then: make PYTHON=python{wanted} setup"
    return DoctorFinding("Python", "ok" if fits else "broken", platform.python_version(), remedy, needed=True)


def disk(folder: Path) -> "DoctorFinding":
    """Reports the free space where the command was typed: repositories and run folders are made
    there unless told otherwise.
    """
    from devices.probe import DoctorFinding

    free_gb = shutil.disk_usage(folder).free / 1e9
    found = f"{free_gb:.1f} GB free at {folder}"
    if free_gb >= DISK_FREE_MIN_GB:
        return DoctorFinding("disk", "ok", found, needed=True)
    return DoctorFinding("disk", "missing", found, f"free some: it wants {DISK_FREE_MIN_GB:g} GB", needed=True)


def terminal() -> "DoctorFinding":
    """Reports whether output goes to a terminal that is wide enough for the live view."""
    from devices.probe import DoctorFinding

    if not sys.stdout.isatty():
        return DoctorFinding(
            "terminal", "missing", "output goes to a file or pipe", "the live view of a demo needs one"
        )
    columns = os.get_terminal_size().columns
    wide = columns >= COLUMNS_MIN
    return DoctorFinding(
        "terminal",
        "ok" if wide else "missing",
        f"{columns} columns",
        "" if wide else f"the live view wants {COLUMNS_MIN}",
    )
