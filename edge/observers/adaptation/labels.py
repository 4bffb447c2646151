"""Who says what a sample shows: a teacher of the repository, as background work of the core, or people over MQTT."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import simplejpeg

from drift.samples import Sample
from edge.core.events import Reply
from edge.data.job import InFlightRequest
from edge.data.picture import Picture
from edge.runtime.worker import Worker
from edge.runtime.world import LiveWorld
from porting.formats.format import LabelFormat
from porting.formats.registry import format_of

Say = Callable[[int, str | None, float], None]  # sample id, label or None for "cannot tell", confidence 0..1


class Labeller(Protocol):
    def ask(self, model: str, labels: Sequence[str], sample: Sample, about: Mapping[str, str], say: Say) -> None:
        """Answer by `say` on the loop thread: now, later, or never."""


class Teacher:
    """A bigger model of the repository. It may know more labels: the best of the student's is taken."""

    def __init__(self, world: LiveWorld, teacher_of: Callable[[str], str | None]):
        self.world, self.teacher_of = world, teacher_of

    def ask(self, model: str, labels: Sequence[str], sample: Sample, about: Mapping[str, str], say: Say) -> None:
        def answer(opened: InFlightRequest, reply: Reply) -> None:
            label, confidence = best(opened, reply, labels) if reply.outcome == "ok" else (None, 0.0)
            say(sample.id, label, confidence)

        teacher = self.teacher_of(model)
        assert teacher is not None
        # Before training: somebody waits for the labels, and there are few of them.
        self.world.submit(teacher, answer, Picture(pixels=sample.image), priority=1)


def best(opened: InFlightRequest, reply: Reply, labels: Sequence[str]) -> tuple[str | None, float]:
    """The likeliest of `labels`, and its probability among them."""
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


class AskLabel(Protocol):
    def __call__(self, id: str, model: str, jpeg: bytes, about: Mapping[str, str]) -> bool: ...


class People:
    """Questions go out on `label/request`, answers come on `label/answer`. Bounded: the oldest are forgotten.

    The worker encodes the pictures: a repair asks for two hundred at once, and frames do not wait for that.
    """

    OPEN_MAX = 2_000

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.ask_label: AskLabel | None = None  # set once there is a connection to ask over
        self.open: dict[str, tuple[int, Say]] = {}

    def ask(self, model: str, labels: Sequence[str], sample: Sample, about: Mapping[str, str], say: Say) -> None:
        name = f"{model}-{sample.id}"
        while len(self.open) >= self.OPEN_MAX:
            self.open.pop(next(iter(self.open)))
        self.open[name] = (sample.id, say)
        self.worker.do(lambda: encoded(sample), lambda jpeg: self._send(name, model, jpeg, about))

    def _send(self, name: str, model: str, jpeg: bytes | Exception, about: Mapping[str, str]) -> None:
        if isinstance(jpeg, Exception):
            raise jpeg
        if name in self.open:
            assert self.ask_label is not None
            self.ask_label(name, model, jpeg, about)

    def answered(self, name: str, label: str | None) -> None:
        """On the loop thread."""
        if name in self.open:
            sample_id, say = self.open.pop(name)
            say(sample_id, label, 1.0)


def encoded(sample: Sample) -> bytes:
    return bytes(simplejpeg.encode_jpeg(sample.image.copy(order="C"), quality=95, colorspace="RGB"))
