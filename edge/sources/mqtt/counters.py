"""Counts with a reason for a name, added to by several threads and read as one consistent picture."""

import threading
from collections import Counter


class Counters:
    """`add` from any thread; `snapshot` is a plain dict of what was counted so far (missing means 0)."""

    def __init__(self, *names: str) -> None:
        self._lock = threading.Lock()
        self._counts = Counter(dict.fromkeys(names, 0))

    def add(self, name: str, n: int = 1) -> None:
        with self._lock:
            self._counts[name] += n

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]
