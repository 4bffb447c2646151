"""Checks every invariant of the core's state after each event: for tests, and for a daemon that behaves oddly."""

from collections.abc import Iterable

from edge.core.events import Event
from edge.core.interfaces import Moment


class StateCheck:
    """Asserts what must always hold; a failed assertion stops the daemon with a traceback, as any bug of ours does."""

    def observe(self, moment: Moment) -> Iterable[Event]:
        moment.state.check()
        return ()
