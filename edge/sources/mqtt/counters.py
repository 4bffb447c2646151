"""Counts events by name from several threads, and reads them as one consistent picture."""

import threading
from collections import Counter


class Counters:
    """Holds counts by name: `add` is safe from any thread, `snapshot` copies all counts (a missing name means 0)."""

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
