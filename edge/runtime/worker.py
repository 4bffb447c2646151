"""Runs work that is too slow for the loop and needs no lane in a thread: files on a slow card, pictures to encode."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Told = Callable[[Any], None]


class Worker:
    """Runs one act after the other off the loop and reports each result on the loop. Without work there is no thread.

    Args:
        tell: from any thread, has a function called on the loop thread.
        enter: gives the calling thread the priority of background work.

    The process may end in the middle of an act, so acts must leave nothing half done (files are renamed into place).
    """

    def __init__(self, tell: Callable[[Callable[[], None]], None], enter: Callable[[], None] = lambda: None):
        self.tell, self.enter = tell, enter
        self._waiting: deque[tuple[Callable[[], Any], Told]] = deque()
        self._busy = False
        self._lock = threading.Lock()  # of the two above: held for a moment, never during an act

    def do(self, act: Callable[[], Any], told: Told) -> None:
        """Runs `act` in the thread, then `told` on the loop thread with what it returned or the exception it raised."""
        with self._lock:
            self._waiting.append((act, told))
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    def _work(self) -> None:
        self.enter()
        while (next_ := self._next()) is not None:
            act, told = next_
            self._tell(told, _outcome(act))

    def _next(self) -> tuple[Callable[[], Any], Told] | None:
        with self._lock:
            self._busy = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None

    def _tell(self, told: Told, outcome: Any) -> None:
        self.tell(lambda: told(outcome))


def _outcome(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Exception as error:  # the caller knows which ones are expected faults
        return error
