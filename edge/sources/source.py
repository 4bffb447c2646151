"""Defines the seam of sources: one class brings work to the daemon and tells the world what came of it.

Nothing is registered: `sources:` in `edge.yaml` names the class by its import path, and the other keys of that entry
are the arguments of its constructor. The constructor raises `ValueError` or `UserError` for options that are wrong.
"""

import time
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from edge.core.events import Event
from edge.core.interfaces import AnswerRule, Moment
from edge.data.frame import Frame
from edge.data.tensor_request import TensorRequest
from porting.repository.repository import Repository

STATS, EVENTS, LABEL_REQUEST = "stats", "events", "label/request"
LEVEL = str.maketrans({"/": "%2F", "+": "%2B", "#": "%23", "\0": "%00"})  # what MQTT forbids within a level of a topic

Value = Mapping[str, Any] | bytes
Limits = Mapping[str, tuple[float, int]]  # model -> the SLO of its app in ms, and its priority


@dataclass(frozen=True, slots=True)
class Delivery:
    """Says how a published value wants to be delivered; a source ignores what its transport cannot do."""

    retain: bool = False  # keep the last value of the topic for those who join later
    confirmed: bool = False  # deliver at least once; otherwise a value may be lost
    headers: Mapping[str, str] = field(default_factory=dict)  # beside the value: trace context, what a picture is of
    content_type: str | None = None  # of bytes; a mapping is published as JSON
    expiry_s: int | None = None  # seconds after which the value is worthless


USUAL = Delivery()  # of a result: at most once, to those who listen now


class Publisher(Protocol):
    """Takes values to publish: one source, or all of them."""

    def publish(self, topic: str, value: Value, delivery: Delivery) -> object:
        """Publishes a value; see `Source.publish`."""


class Inbox(Protocol):
    """Offers a source what it may ask of the daemon. Every method may be called from any thread and returns at once."""

    repository: Repository  # the models of this box
    answers: MutableMapping[str, AnswerRule]  # app -> its rule; the mapping that the scheduler itself looks into
    limits: Limits  # of models that an app asks by themselves

    @property
    def draining(self) -> bool:
        """Returns whether the daemon stops: what is open is answered, what is new is turned away."""

    @property
    def hears_labels(self) -> bool:
        """Returns whether anything here uses what people say of pictures and results."""

    def receive(self, frame: Frame) -> bool:
        """Hands a camera frame over. Returns False where the run is over: the frame is then in no statistics."""

    def ask(self, asked: TensorRequest) -> bool:
        """Hands a request with tensors of its own over; the caller bounds how many are open.

        Returns False where the run is over: `asked.told` will not be called then.
        """

    def withdraw(self, asked: TensorRequest) -> None:
        """Gives up a request that was handed over. Nothing happens where it runs or is answered."""

    def answer(self, id: str, label: str | None) -> None:
        """Reports what people say: to a label request, or of a result, both by `id`. None: they cannot tell."""

    def fault(self, source: object, error: BaseException) -> None:
        """Counts and logs an error of a thread of `source`, where no caller would see it."""


@runtime_checkable
class Source(Protocol):
    """Brings work in and publishes results. The daemon calls each method on its loop thread, so none may wait long.

    An exception of one of them is logged and counted under `source_faults` in the statistics; the daemon goes on.
    """

    def start(self, inbox: Inbox) -> None:
        """Begins to hand work over to `inbox`, on threads of its own. Called once, when all models are loaded."""

    def publish(self, topic: str, value: Value, delivery: Delivery) -> object:
        """Publishes a value; a source that has nothing to tell ignores it. What is returned is ignored.

        `topic` is one of `{camera}/{app}/result`, `stats`, `events`, `{model}/drift` and `label/request` (a JPEG;
        `id` and `model` are in `delivery.headers`). Other values are mappings, ready for JSON but for NumPy numbers.
        It may be called before `start` and after `stop`.
        """

    def stop(self) -> None:
        """Ends within some seconds. May be called again, and without `start`."""


@runtime_checkable
class Prepares(Protocol):
    """Has something to do before the models are loaded: what a source may offer beside `Source`."""

    def prepare(self, inbox: Inbox) -> None:
        """Prepares the source: opens a port, say. Called once, before `start`.

        Raises `UserError` where the daemon cannot run without it.
        """


@runtime_checkable
class Watches(Protocol):
    """Follows what the core does, as an observer: what a source may offer beside `Source`."""

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Sees every moment; returns events to post. Called from the first moment, after `prepare`."""


@runtime_checkable
class Counts(Protocol):
    """Counts what its transport met; all counters are in the statistics under `network`."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Returns what was counted so far by name. A name means the same for all sources: they are added up."""


def result_topic(camera: str, app: str) -> str:
    """Returns the topic of an app's results for one camera; what a level may not contain is percent-encoded."""
    return f"{camera.translate(LEVEL)}/{app.translate(LEVEL)}/result"


def drift_topic(model: str) -> str:
    """Returns the topic of the last thing that happened to a model."""
    return f"{model.translate(LEVEL)}/drift"


def frame_now(camera: str, payload: bytes, seq: int | None = None, frame_time: float | None = None) -> Frame:
    """Makes a frame of a JPEG that has just arrived. `frame_time`: when it was captured, unix seconds; else now."""
    now = time.time()
    return Frame(camera, payload, time.monotonic_ns(), now, now if frame_time is None else frame_time, seq)
