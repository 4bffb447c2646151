"""Runs the demo on the user's own pictures: class folders become camera streams, a schedule of
conditions makes them drift.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cli.demonstration.recorder import MessageRecorder
from cli.demonstration.show import Settings
from porting.errors import BadImage, UserError
from porting.images import decode
from porting.samples import class_of, is_picture

PORTED_SHARE = 5  # one picture in five is for porting (accuracy, drift reference, replay); the cameras show the others
TRUTHS_MAX = 20_000
SLO_MS = 150
# Neighbouring pictures of a folder are less alike than frames of a film: more are sampled, and a world is known sooner.
STILLS = {"stride_ms": 200, "world_min": 200, "block_s": 1}


@contextmanager
def members(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Yields the names of the pictures in class folders, ascending, and a function that reads
    one. Raises `UserError`.
    """
    if path.is_dir():
        names = [str(found.relative_to(path)) for found in path.rglob("*") if found.is_file()]
        yield sorted(filter(is_picture, names)), lambda name: (path / name).read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            yield sorted(filter(is_picture, archive.namelist())), archive.read
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: neither a folder nor a zip of class folders ({error})") from None


def for_porting(name: str) -> bool:
    """Returns whether a picture is for porting; by its name alone, so that cameras and porting
    agree without talking.
    """
    return zlib.crc32(name.encode()) % PORTED_SHARE == 0


class ImageStream:
    """Generates frames for `leeway camera`: pictures in seeded random order, each under the condition of its time.

    `schedule`: conditions by seconds, e.g. `day@0,night@30`.
    """

    def __init__(self, camera: int, fps: float, path: str, schedule: str, seed: int = 7):
        from examples.conditions import Schedule

        self.fps, self.schedule = fps, Schedule.parse(schedule)
        self.key = [seed, camera]
        with members(Path(path)) as (names, read):
            shown = [name for name in names if not for_porting(name)]
            Random(f"{seed}/{camera}").shuffle(shown)
            self.pictures = [(read(name), class_of(name)) for name in shown[:SHOWN_MAX]]
        if not self.pictures:
            raise UserError(f"{path}: no pictures to show")

    def frame(self, index: int) -> tuple[NDArray[np.uint8], list[dict[str, str]], str]:
        """Returns (RGB uint8 [h, w, 3], truth objects, condition) of a frame."""
        payload, label = self.pictures[index % len(self.pictures)]
        try:
            pixels = decode(payload)
        except BadImage:
            pixels = np.zeros((32, 32, 3), np.uint8)  # a broken file is shown as a black picture
        now_s = index / self.fps
        drifted = self.schedule.apply(pixels, now_s, np.random.default_rng([*self.key, index]))
        return drifted, [{"kind": "image", "label": label}], self.schedule.at(now_s)


SHOWN_MAX = 4_000  # of one camera, kept as JPEG bytes


@dataclass(slots=True)
class Images:
    """Provides the demo with the user's pictures, classifier and optional teacher."""

    drift: ClassVar[str] = "night"
    images: Path
    model: Path
    teacher: Path | None
    input: Mapping[str, Any]
    label_delay_s: float
    label_errors: float
    name: str = "model"
    truths: dict[tuple[str, Any], str] = field(default_factory=dict)
    due: list[tuple[float, str, str]] = field(default_factory=list)  # when, id of the question, its answer
    labels: tuple[str, ...] = ()
    random: Random = field(default_factory=lambda: Random(7))

    def port(self, settings: Settings, progress: Callable[[str], None]) -> None:
        """Ports the classifier and the teacher. Raises `UserError` for a missing file or a gate that refuses."""
        from devices.cpu import Cpu
        from porting.pipeline import port
        from porting.repository.repository import Repository
        from porting.samples import read_samples

        for path in filter(None, (self.images, self.model, self.teacher)):
            if not path.exists():
                raise UserError(f"{path}: no such file; see `leeway demo --help`")
        sample_zip = self._sample_zip(settings.folder)
        samples, self.labels = read_samples(sample_zip, limit=1200)
        repository, device = Repository(settings.folder / "repository"), Cpu()
        jobs = [(self.model, self.name)] + ([(self.teacher, "teacher")] if self.teacher else [])
        for path, name in jobs:
            progress(f"porting {path.name} as {name}")
            report = port(path, name, repository, device, input=self.input, labels=self.labels, samples=samples)
            for line in (*report.repairs, *report.notes):
                progress(f"  {line}")
            if not report.served:
                raise UserError(f"{path}: {'; '.join(report.gates)}")

    def _sample_zip(self, folder: Path) -> Path:
        path = folder / "samples.zip"
        with members(self.images) as (names, read), zipfile.ZipFile(path, "w") as out:
            for name in filter(for_porting, names):
                out.writestr(name, read(name))
        return path

    def config(self, settings: Settings) -> dict[str, Any]:
        """Returns the daemon's `edge.yaml`."""
        drift = {"models": [self.name], **({"teacher": "teacher"} if self.teacher else {})}
        return {
            "models": "repository",
            "mqtt": {"node": "images"},
            "apps": {self.name: {"use": "edge.answers.single:Single", "model": self.name, "slo_ms": SLO_MS}},
            "streams": {"*": {"apps": [self.name]}},
            "drift": {**drift, "streams": settings.cameras, "false_alarms_per_day": 24, **STILLS},
        }

    def cameras(self, settings: Settings) -> list[str]:
        """Returns the arguments of `leeway camera`."""
        options = {"path": self.images.resolve(), "schedule": settings.schedule()}
        words = (word for key, value in options.items() for word in ("-o", f"{key}={value}"))
        return ["cli.demonstration.images:ImageStream", *words, "--seed", str(settings.seed)]

    def about(self, settings: Settings) -> dict[str, Any]:
        """Returns the lines of demo.json that the report needs."""
        told = f"the folders' names, {self.label_delay_s:g} s late, {self.label_errors:.0%} wrong on purpose"
        return {
            "classify": {self.name: self.name},
            "models": [self.name],
            "labels": "a teacher model" if self.teacher else told,
            "images": str(self.images.name),
        }

    # ---- labels by the folder's names: late, and sometimes wrong, as people are

    def heard(self, kind: str, table: dict[str, Any], recorder: MessageRecorder) -> None:
        """Remembers the truth of frames, and queues the answers to questions for labels when there is no teacher."""
        if kind == "truth":
            self.truths[table["camera"], table["seq"]] = table["objects"][0]["label"]
            while len(self.truths) > TRUTHS_MAX:
                self.truths.pop(next(iter(self.truths)))
        elif kind == "labels" and not self.teacher:
            self._asked(table)

    def _asked(self, question: dict[str, Any]) -> None:
        label = self.truths.get((str(question.get("camera")), int(question.get("seq", -1))))
        if label is None:
            return
        if self.random.random() < self.label_errors:
            label = self.random.choice([other for other in self.labels if other != label])
        self.due.append((monotonic() + self.label_delay_s, str(question["id"]), label))

    def tick(self, recorder: MessageRecorder) -> None:
        """Sends the answers that are due."""
        now = monotonic()
        while self.due and self.due[0][0] <= now:
            _, name, label = self.due.pop(0)
            recorder.publish("label/answer", {"id": name, "label": label})
