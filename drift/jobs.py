"""Background work in slices: a generator that yields often, run for a budget at a time by whoever has time to give."""

from collections.abc import Callable, Generator
from typing import Any

from devices.interface import DeviceError

Clock = Callable[[], int]  # nanoseconds, monotonic
Slices = Generator[None, None, Any]  # yields between slices of a few milliseconds; returns its result


class BackgroundJob:
    """One piece of background work. `step` runs in a lane's thread; `result` and `error` are read once it is done."""

    def __init__(self, name: str, slices: Slices, clock: Clock):
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: str | None = None  # weather: a device or a disk said no
        self.spent_ns = 0
        self._slices, self._clock = slices, clock
        self._cancelled = False

    def step(self, budget_ns: int) -> bool:
        """Work for about `budget_ns` (stops when one more slice like the longest would not fit); True when done."""
        began = now = self._clock()
        longest, over = 0, self.done
        while not over:
            over = self._advance()
            now, before = self._clock(), now
            longest = max(longest, now - before)
            if now - began + longest > budget_ns:
                break
        self.spent_ns += now - began
        self.done = over  # last of all: whoever sees it may read the rest
        return over

    def cancel(self) -> None:
        """From any thread. The next step gives up what the work holds, and ends it with no result."""
        self._cancelled = True  # closing it here could meet a step that is under way in the lane's thread

    def _advance(self) -> bool:
        """One slice. True: there are no more."""
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
