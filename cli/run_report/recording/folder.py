"""Reads a run folder as a demo leaves it: messages of cameras, daemon and truth, one JSON value per line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cli.run_report.recording.shapes import SETTINGS, fits, is_message, is_number
from porting.errors import UserError

Message = Mapping[str, Any]
STREAMS = ("results", "truth", "events", "stats")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Holds a run: `settings` is demo.json; the lists hold the MQTT messages with `at`, the Unix
    second in which they came in.
    """

    path: Path
    settings: Message
    results: tuple[Message, ...] = ()
    truth: tuple[Message, ...] = ()
    events: tuple[Message, ...] = ()
    stats: tuple[Message, ...] = ()
    notes: tuple[str, ...] = field(default=())  # what was missing or torn, in words for the report

    @property
    def start(self) -> float:
        """Returns the Unix second that the report counts from: as demo.json states it, else the
        first frame's time, else 0.
        """
        said = number(self.settings.get("start_time"))
        if said is not None:
            return said
        return min(
            (at for message in (*self.truth, *self.results) if (at := time_of(message)) is not None), default=0.0
        )

    @property
    def duration_s(self) -> float:
        """Returns the duration as demo.json states it, else the time to the last result."""
        said = number(self.settings.get("duration"))
        if said is not None and said > 0:
            return said
        return max((at - self.start for m in self.results if (at := time_of(m)) is not None), default=0.0)

    @property
    def drift_s(self) -> float | None:
        """Returns the seconds from the start to the drift; None where nothing was to drift."""
        at = number(self.settings.get("drift_time"))
        return None if at is None or self.settings.get("drift") == "none" else at - self.start

    @property
    def slo_ms(self) -> float | None:
        return number(self.settings.get("slo_ms"))

    @property
    def frozen(self) -> bool:
        return bool(self.settings.get("frozen"))

    def frame(self, camera: str, seq: int) -> Path:
        return self.path / "frames" / f"{camera}-{seq}.jpg"


def number(value: object) -> float | None:
    """Returns the value as a float; None when it is not a finite number (a bool is not one)."""
    return float(cast(float, value)) if is_number(value) else None


def time_of(message: Message) -> float | None:
    """Returns the Unix second that a message is about: the frame's, else its own, else that of its receipt."""
    for key in ("frame_time", "time", "at"):
        at = number(message.get(key))
        if at is not None:
            return at
    return None


def read_run(path: Path) -> RunFolder:
    """Reads a run folder; other missing files are noted. Raises `UserError` when the folder or
    its demo.json is missing or unusable.
    """
    settings, notes = _settings(path)
    lines: dict[str, tuple[Message, ...]] = {}
    for stream in STREAMS:
        lines[stream], torn = _lines(path, stream)
        if torn:
            notes.append(f"{stream}.jsonl: {torn} unreadable line{'s' * (torn > 1)} left out")
        if not lines[stream]:
            notes.append(f"{stream}.jsonl: nothing in it")
    return RunFolder(path=path, settings=settings, notes=tuple(notes), **lines)


def _settings(path: Path) -> tuple[Message, list[str]]:
    file = path / "demo.json"
    if not file.is_file():
        raise UserError(f"{path}: no demo.json in it; name a folder that `leeway demo` wrote, such as runs/<time>")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as trouble:
        raise UserError(f"{file}: cannot be read as JSON ({trouble}); run the demo again") from None
    if not isinstance(settings, dict):
        raise UserError(f"{file}: holds {type(settings).__name__}, expected an object; run the demo again")
    strange = sorted(
        key for key, shape in SETTINGS.items() if settings.get(key) is not None and not fits(settings[key], shape)
    )
    kept = {key: value for key, value in settings.items() if key not in strange}
    return kept, [f"demo.json: {key} makes no sense ({settings[key]!r:.40}) and is left out" for key in strange]


def _lines(path: Path, stream: str) -> tuple[tuple[Message, ...], int]:
    """Returns the messages and the number of unreadable lines: a killed writer leaves its last line half-written."""
    file = path / f"{stream}.jsonl"
    if not file.is_file():
        return (), 0
    good, torn = [], 0
    for line in file.read_bytes().splitlines():
        if not line.strip():
            continue
        try:
            message = json.loads(line)
        except ValueError:
            message = None  # not JSON, so it does not fit the shape either
        if is_message(stream, message):
            good.append(message)
        else:
            torn += 1
    return tuple(good), torn
