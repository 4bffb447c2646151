"""Requests that have just come: who decides about admission looks at each of them once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.core.events import Arrived, Reply
from edge.core.interfaces import Moment
from edge.core.state import OpenRequest, State


@dataclass
class Newcomers:
    """`known`: open requests of earlier moments. Deciding changes nothing here, only `see` does: once a moment."""

    known: set[int] = field(default_factory=set)

    def waiting(self, state: State) -> Iterator[OpenRequest]:
        """Those of this moment that have a deadline and that nothing has been done about yet, the last one first."""
        for number in reversed(state.requests):
            if number in self.known:
                return
            opened = state.requests[number]
            if opened.request.deadline_ns is not None and not opened.begun and opened.waiting:
                yield opened

    def see(self, moment: Moment) -> None:
        if isinstance(moment.event, Arrived):
            self.known.add(moment.event.request.id)
        for action in moment.actions:
            if isinstance(action, Reply):
                self.known.discard(action.request_id)
