"""Joins all sources of a daemon into one: each of them hears everything, and what fails in one is counted there."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

from edge.core.events import Event
from edge.core.interfaces import Moment
from edge.sources.source import USUAL, Counts, Delivery, Inbox, Prepares, Source, Value, Watches
from porting.errors import UserError

log = logging.getLogger("leeway.sources")


class Sources:
    """Passes every call on to each source, in the order given.

    `faults` counts what a source raised, by the name of its class (`MqttSource`; `MqttSource 2` for the second one).
    The first fault of each kind of call is logged with its traceback, further ones are only counted.
    """

    def __init__(self, sources: Sequence[Source]):
        self.named = named(sources)
        self.watching = {name: source for name, source in self.named.items() if isinstance(source, Watches)}
        self._lock = Lock()
        self._faults: Counter[tuple[str, str]] = Counter()

    def __iter__(self) -> Iterator[Source]:
        return iter(self.named.values())

    def prepare(self, inbox: Inbox) -> None:
        """Prepares each source that has to be; others are counted. Raises `UserError` where one cannot work at all."""
        for name, source in self.named.items():
            if isinstance(source, Prepares):
                try:
                    source.prepare(inbox)
                except UserError:
                    raise
                except Exception as error:
                    self._count(name, "prepare", error)

    def start(self, inbox: Inbox) -> None:
        """Starts each source that can be started; the others are counted."""
        for name, source in self.named.items():
            self._guarded(name, "start", source.start, inbox)

    def publish(self, topic: str, value: Value, delivery: Delivery = USUAL) -> None:
        """Publishes a value by each source; what one raises is counted."""
        for name, source in self.named.items():
            try:  # not by `_guarded`: this one runs for every frame
                source.publish(topic, value, delivery)
            except Exception as error:
                self._count(name, "publish", error)

    def observe(self, moment: Moment) -> list[Event]:
        """Returns the events that sources post at this moment."""
        posted: list[Event] = []
        for name, source in self.watching.items():
            self._guarded(name, "observe", lambda moment, source=source: posted.extend(source.observe(moment)), moment)
        return posted

    def stop(self) -> None:
        """Stops each source."""
        for name, source in self.named.items():
            self._guarded(name, "stop", source.stop)

    def fault(self, source: object, error: BaseException) -> None:
        """Counts an error that a source met on a thread of its own. May be called from any thread."""
        name = next((name for name, known in self.named.items() if known is source), type(source).__name__)
        self._count(name, "run", error)

    @property
    def faults(self) -> dict[str, int]:
        """Returns the number of faults of each source that had some."""
        with self._lock:
            counted = dict(self._faults)
        return {name: sum(n for (of, _), n in counted.items() if of == name) for name, _ in counted}

    @property
    def counters(self) -> dict[str, int]:
        """Returns the counters of all sources, added up by name."""
        total: dict[str, int] = {}
        for name, source in self.named.items():
            self._guarded(name, "counters", add_counters, total, source)
        return total

    def __str__(self) -> str:
        return ", ".join(map(said_of, self.named.items())) or "none"

    def _guarded(self, name: str, call: str, act: Callable[..., Any], *words: Any) -> None:
        try:
            act(*words)
        except Exception as error:
            self._count(name, call, error)

    def _count(self, name: str, call: str, error: BaseException) -> None:
        with self._lock:
            self._faults[name, call] += 1
            first = self._faults[name, call] == 1
        if first:
            log.error("source %s: %s failed; going on without it", name, call, exc_info=error)


def named(sources: Sequence[Source]) -> dict[str, Source]:
    """Returns the sources by the names of their classes, those of one class numbered from the second on."""
    found: dict[str, Source] = {}
    counts: Counter[str] = Counter()
    for source in sources:
        kind = type(source).__name__
        counts[kind] += 1
        found[kind if counts[kind] == 1 else f"{kind} {counts[kind]}"] = source
    return found


def add_counters(total: dict[str, int], source: Source) -> None:
    """Adds the counters of one source to `total`, if it has some."""
    for key, n in source.counters.items() if isinstance(source, Counts) else ():
        total[key] = total.get(key, 0) + n


def said_of(entry: tuple[str, Source]) -> str:
    """Returns the name of a source, and where it is reached if it says so by a `__str__` of its own."""
    name, source = entry
    return name if type(source).__str__ is object.__str__ else f"{name} ({source})"
