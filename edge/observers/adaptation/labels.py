"""Obtains labels for samples: from a teacher model as background work of the core, or from people over MQTT."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import simplejpeg

from drift.samples import Sample
from edge.core.events import Reply
from edge.data.job import InFlightRequest
from edge.data.picture import Picture
from edge.runtime.worker import Worker
from edge.runtime.world import LiveWorld
from edge.sources.source import LABEL_REQUEST, Delivery, Publisher
from porting.formats.format import LabelFormat
from porting.formats.registry import format_of

LABEL_EXPIRY_S = 3_600

Say = Callable[[int, str | None, float], None]  # sample id, label or None for "cannot tell", confidence 0..1


class Labeller(Protocol):
    """Labels samples on request."""

    def ask(self, model: str, labels: Sequence[str], sample: Sample, about: Mapping[str, str], say: Say) -> None:
        """Asks what `sample` shows. `say` is called on the loop thread, at once, later, or never."""


class Teacher:
    """Labels with a larger model of the repository, which may know more labels: the best of the student's is taken."""

    def __init__(self, world: LiveWorld, teacher_of: Callable[[str], str | None]):
        self.world, self.teacher_of = world, teacher_of

    def ask(self, model: str, labels: Sequence[str], sample: Sample, about: Mapping[str, str], say: Say) -> None:
        """Submits the sample to the model's teacher as background work; `say` gets None when the teacher failed."""

        def answer(opened: InFlightRequest, reply: Reply) -> None:
            label, confidence = best(opened, reply, labels) if reply.outcome == "ok" else (None, 0.0)
            say(sample.id, label, confidence)

        teacher = self.teacher_of(model)
        assert teacher is not None
        # Priority above training: a repair waits for the labels, and there are few of them.
        self.world.submit(teacher, answer, Picture(pixels=sample.image), priority=1)


def best(opened: InFlightRequest, reply: Reply, labels: Sequence[str]) -> tuple[str | None, float]:
    """Returns the most probable of `labels` and its probability among them, 0..1; (None, 0.0) when none has any."""
    job = opened.jobs[reply.tasks[0]]
    output, signals = job.variant.output, job.outcome.signals
    assert output is not None
    assert signals is not None
    format = format_of(output)
    assert isinstance(format, LabelFormat), "checked when the daemon was wired"
    said = format.shares(output, signals)
    whole = sum(said.get(label, 0.0) for label in labels)
    if whole <= 0:
        return None, 0.0
    label = max(labels, key=lambda name: said.get(name, 0.0))
    return label, said[label] / whole


class People:
    """Asks people for labels: a picture goes out as `label/request`, answers come back by its `id`.

    At most `OPEN_MAX` questions are open; beyond that the oldest are forgotten. The worker encodes the pictures, since
    a repair asks for two hundred at once and frames must not wait for that.
    """

    OPEN_MAX = 2_000

    def __init__(self, worker: Worker, publisher: Publisher) -> None:
        self.worker, self.publisher = worker, publisher
        self.open: dict[str, tuple[int, Say]] = {}

    def ask(self, model: str, labels: Sequence[str], sample: Sample, about: Mapping[str, str], say: Say) -> None:
        """Opens a question and has its picture encoded and sent by the worker."""
        name = f"{model}-{sample.id}"
        while len(self.open) >= self.OPEN_MAX:
            self.open.pop(next(iter(self.open)))
        self.open[name] = (sample.id, say)
        self.worker.do(lambda: encoded(sample), lambda jpeg: self._send(name, model, jpeg, about))

    def _send(self, name: str, model: str, jpeg: bytes | Exception, about: Mapping[str, str]) -> None:
        if isinstance(jpeg, Exception):
            raise jpeg
        if name in self.open:
            headers = {"id": name, "model": model, **about}
            self.publisher.publish(LABEL_REQUEST, jpeg, Delivery(False, True, headers, "image/jpeg", LABEL_EXPIRY_S))

    def answered(self, name: str, label: str | None) -> None:
        """Passes an answer on, with confidence 1. Runs on the loop thread; an answer to an
        unknown question is ignored.
        """
        if name in self.open:
            sample_id, say = self.open.pop(name)
            say(sample_id, label, 1.0)


def encoded(sample: Sample) -> bytes:
    """Returns the picture of a sample as JPEG of quality 95."""
    return bytes(simplejpeg.encode_jpeg(sample.image.copy(order="C"), quality=95, colorspace="RGB"))
