"""Publishes the answer of every frame. A drop is not published; the next answer says how many came before it."""

from collections.abc import Callable, Mapping
from time import time

from edge.core.events import Event, Reply, Time
from edge.data.job import InFlightRequest
from edge.data.result import message
from edge.data.votes import combined
from edge.sources.source import USUAL, Delivery, Publisher, result_topic


class Results:
    """Listens to the live world and publishes results.

    The votes of an ensemble's members are combined here and posted as an event, so that rules that learn and a replay
    of the run both see the outcome. `answers` holds the rule of each app.
    """

    def __init__(
        self,
        publisher: Publisher,
        answers: Mapping[str, object] | None = None,
        post: Callable[[Event], None] = lambda event: None,
    ):
        self.publisher, self.answers, self.post = publisher, answers or {}, post
        self.dropped_before: dict[tuple[str, str], int] = {}

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None:
        if app:  # without an app there is no later result that could report the drop
            self._missed(camera, app)

    def _missed(self, camera: str, app: str) -> None:
        self.dropped_before[camera, app] = self.dropped_before.get((camera, app), 0) + 1

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        """Publishes the result of an answered frame, with the number of drops before it."""
        if opened.frame is None:
            return
        request = opened.request
        if reply.outcome != "ok":
            self._missed(request.stream, request.app)
            return
        missed = self.dropped_before.pop((request.stream, request.app), 0)
        said = combined(self.answers.get(request.app), opened, reply)
        if said is not None:
            self.post(said)
        result = message(opened, reply, now, time(), missed, said)
        trace = opened.frame.traceparent
        headers = {"traceparent": trace} if trace else {}
        topic = result_topic(request.stream, request.app)
        self.publisher.publish(topic, {**result, **headers}, Delivery(headers=headers) if headers else USUAL)
