"""Keeps the requests of the live world that have no answer yet, by id and by stream. Loop thread only."""

from collections.abc import Sequence
from itertools import count
from time import monotonic_ns

from edge.core.events import Reply
from edge.data.job import InFlightRequest, Listener


class InFlightRequests:
    """Holds every unanswered request, and tells the listeners when one comes, is answered, or was never taken in.

    Attributes:
        open: the requests by id.
        by_stream: ids of a stream's unanswered requests, oldest first; a stream is a camera and an app.
    """

    def __init__(self, listeners: Sequence[Listener]):
        self.listeners = listeners
        self.open: dict[int, InFlightRequest] = {}
        self.by_stream: dict[tuple[str, str], list[int]] = {}
        self.ids = count(1)

    def arrive(self, opened: InFlightRequest) -> None:
        """Adds a request that came from outside and tells the listeners."""
        self.open[opened.request.id] = opened
        for listener in self.listeners:
            listener.arrived(opened.request.stream)

    def drop(self, camera: str, app: str, reason: str) -> None:
        """Tells the listeners of a frame or a row of tensors that became no request."""
        for listener in self.listeners:
            listener.dropped(camera, app, reason)

    def reply(self, reply: Reply) -> None:
        """Removes an answered request and tells the listeners, then its `on_reply`."""
        opened = self.open.pop(reply.request_id)
        request = opened.request
        waiting = self.by_stream.get((request.stream, request.app))
        if waiting is not None and request.id in waiting:
            waiting.remove(request.id)
        now = monotonic_ns()
        for listener in self.listeners:
            listener.replied(opened, reply, now)
        if opened.on_reply is not None:
            opened.on_reply(opened, reply)
