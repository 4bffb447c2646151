"""Finds requests that have just arrived, so that an admission policy examines each of them once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.core.events import Arrived, Reply
from edge.core.interfaces import Moment
from edge.core.state import OpenRequest, State


@dataclass
class Newcomers:
    """Remembers which open requests were seen before. Asking changes nothing; only `see` does.

    `known`: ids of open requests that arrived at earlier moments.
    """

    known: set[int] = field(default_factory=set)

    def waiting(self, state: State) -> Iterator[OpenRequest]:
        """Yields the new requests with a deadline of which no task has begun, the latest first."""
        for number in reversed(state.requests):
            if number in self.known:
                return
            opened = state.requests[number]
            if opened.request.deadline_ns is not None and not opened.begun and opened.waiting:
                yield opened

    def see(self, moment: Moment) -> None:
        """Marks what arrived as known and forgets what was answered; to be called once with every moment."""
        if isinstance(moment.event, Arrived):
            self.known.add(moment.event.request.id)
        for action in moment.actions:
            if isinstance(action, Reply):
                self.known.discard(action.request_id)
