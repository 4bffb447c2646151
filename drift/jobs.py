"""Runs background work in slices: a generator that yields often, run for a budget at a time where there is time."""

from collections.abc import Callable, Generator
from typing import Any

from devices.interface import DeviceError

Clock = Callable[[], int]  # nanoseconds, monotonic
Slices = Generator[None, None, Any]  # yields between slices of a few milliseconds; returns its result


class BackgroundJob:
    """Holds one piece of background work.

    `step` runs in a lane's thread; `result` and `error` may be read once `done` is True.
    spent_ns: time in `step` so far.
    """

    def __init__(self, name: str, slices: Slices, clock: Clock):
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: str | None = None  # what a device or a disk refused; a bug is raised instead
        self.spent_ns = 0
        self._slices, self._clock = slices, clock
        self._cancelled = False

    def step(self, budget_ns: int) -> bool:
        """Works for about `budget_ns`; returns True when done.

        It stops where one more slice like the longest so far would not fit. A `DeviceError`, `OSError` or `MemoryError`
        of the work ends it and is kept in `error`.
        """
        began = now = self._clock()
        longest, over = 0, self.done
        while not over:
            over = self._advance()
            now, before = self._clock(), now
            longest = max(longest, now - before)
            if now - began + longest > budget_ns:
                break
        self.spent_ns += now - began
        self.done = over  # set last: a thread that sees it may read the rest
        return over

    def cancel(self) -> None:
        """Ends the work without a result, at its next step, which gives up what it holds.

        May be called from any thread.
        """
        self._cancelled = True  # closing it here could meet a step that is under way in the lane's thread

    def _advance(self) -> bool:
        """Runs one slice; returns True where there are no more."""
        try:
            if self._cancelled:
                self._slices.close()
                return True
            next(self._slices)
        except StopIteration as stop:
            self.result = stop.value
            return True
        except (DeviceError, OSError, MemoryError) as error:
            self.error = f"{type(error).__name__}: {error}"[:200]
            return True
        return False
