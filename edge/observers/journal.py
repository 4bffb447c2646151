"""Reports what happens to the models, one line each: to a file, to all sources, and as a retained state per model."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from edge.sources.source import EVENTS, Delivery, Publisher, drift_topic

log = logging.getLogger("leeway")

TOLD = ("alarm", "audit", "promotion", "rollback", "refused", "given_up", "no_labels", "broken", "trouble", "served")
WORDS = ("verdict", "accuracy", "response", "variant", "reason")  # of the evidence: what a log line has room for


class Journal:
    """Records an event when called with kind, model and evidence. A file that cannot be written
    is reported once and then left alone.
    """

    def __init__(self, publisher: Publisher, wall: Any, path: Path | None, say: Any):
        self.publisher, self.wall, self.say = publisher, wall, say
        self.file: IO[str] | None = None
        if path is not None:
            self.file = self._open(path)

    def __call__(self, kind: str, model: str, fields: Mapping[str, Any]) -> None:
        line = {"kind": kind, "model": model, "time": round(self.wall(), 3), **plain(fields)}
        if kind in TOLD:
            log.info("%s: %s%s", model, kind, brief(line))
        self.publisher.publish(EVENTS, line, Delivery(confirmed=True))
        self.publisher.publish(drift_topic(model), line, Delivery(retain=True))
        if self.file is not None:
            self._write(json.dumps(line))

    def _open(self, path: Path) -> IO[str] | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("a", buffering=1)
        except OSError as error:
            self.say(f"journal {path}: {error.strerror}; going on without it")
            return None

    def _write(self, line: str) -> None:
        assert self.file is not None
        try:
            self.file.write(line + "\n")
        except OSError as error:
            self.say(f"journal: {error.strerror}; going on without it")
            self.file = None


def brief(line: Mapping[str, Any]) -> str:
    """Returns ` (verdict harmful, accuracy 0.61)`, or an empty string when none of `WORDS` has a value."""
    words = [f"{word} {line[word]}" for word in WORDS if line.get(word) not in (None, "")]
    return f" ({', '.join(words)})" if words else ""


def plain(value: Any) -> Any:
    """Returns a value with NumPy numbers and arrays turned into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
