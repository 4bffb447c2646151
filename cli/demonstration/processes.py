"""Runs the demo's parts as on a real box: each is a process of its own, started by the command
that a user would type.
"""

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from porting.errors import UserError

STOP_S = 15.0  # a daemon that drains and publishes its last statistics needs a second or two


class Child:
    """Runs `leeway …` in a process of its own, with its output in a log file."""

    def __init__(self, name: str, arguments: list[str], log: Path):
        self.name, self.log = name, log
        with log.open("wb") as out:
            command = [sys.executable, "-m", "cli.main", *arguments]
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops its parts in order
            )

    def running(self) -> bool:
        return self.process.poll() is None

    def must_run(self) -> None:
        """Raises `UserError` with the last line of its log when the process ended by itself."""
        if not self.running():
            raise UserError(f"the {self.name} ended by itself (exit {self.process.returncode}): {self.last_words()}")

    def last_words(self) -> str:
        """Returns the last line of the log."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"it said nothing; see {self.log}"

    def wait(self, seconds: float) -> int | None:
        """Waits for the end; returns the exit status, or None when it still runs after that time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> int:
        """Sends SIGTERM, waits, then kills; returns the exit status."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        if self.wait(STOP_S) is None:
            self.process.kill()
        return self.process.wait()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
