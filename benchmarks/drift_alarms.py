"""Counts alarms without and with drift on synthetic correlated answers: how often a monitor is
wrong, how soon right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from drift.detection.monitor import Alarm, DriftMonitor
from drift.detection.thresholds import DAY_S, Channel, ReferenceWorld, calibrate, rate_per_test
from drift.settings import DriftSettings
from porting.formats.tensors import softmax

Array = np.ndarray[Any, Any]
S = 1_000_000_000
CLASSES = 5


@dataclass
class Answers:
    """Generates softmax outputs of one stream.

    `crops` objects are in sight, each for `stay_s` seconds on average, with a class and a difficulty of its own; the
    noise of a single frame is the smaller part. `shift` is taken from the margin of the largest class.
    """

    rng: np.random.Generator
    crops: int = 2
    stay_s: float = 3.0
    shift: float = 0.0
    mix: Array | None = None

    def __post_init__(self) -> None:
        self._objects = np.zeros((self.crops, CLASSES))
        self._leaves = np.zeros(self.crops)

    def frame(self, at_s: float) -> Array:
        """Returns the outputs of a frame, [crops, CLASSES]."""
        for i in np.flatnonzero(self._leaves <= at_s):
            kind = self.rng.choice(CLASSES, p=self.mix)
            self._objects[i] = self.rng.normal(0, 1.0, CLASSES)
            self._objects[i, kind] += self.rng.normal(4.5, 1.2)
            self._leaves[i] = at_s + self.rng.exponential(self.stay_s)
        logits = self._objects + self.rng.normal(0, 0.5, self._objects.shape)
        np.put_along_axis(logits, logits.argmax(1)[:, None], logits.max(1)[:, None] - self.shift, axis=1)
        return softmax(logits)


def world(seconds: float, seed: int, streams: int = 4, stride_s: float = 0.4) -> ReferenceWorld:
    """Returns what an undrifted day leaves behind: the reference of a monitor."""
    rows = []
    for stream in range(streams):
        answers = Answers(np.random.default_rng([seed, stream]))
        for at_s in np.arange(0, seconds, stride_s):
            rows += [(probs, stream, int(at_s // 2)) for probs in answers.frame(at_s)]
    probs, stream_of, block = zip(*rows, strict=True)
    return ReferenceWorld(np.stack(probs), np.asarray(stream_of), np.asarray(block))


def guarded(settings: DriftSettings, reference: ReferenceWorld, streams: int = 4, seed: int = 0) -> DriftMonitor:
    """Returns a monitor calibrated on the reference."""
    watch = DriftMonitor(settings.window, settings.pooled_window, int(settings.block_s * S))
    channels = (Channel("stream", settings.window), Channel("pooled", settings.pooled_window, streams))
    tests = settings.tests()
    rate = rate_per_test(settings.false_alarms_per_day, (streams + 1) * len(tests), DAY_S / settings.test_s)
    slices = calibrate(reference, tests, channels, rate, np.random.default_rng(seed), settings.bootstrap_draws)
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            watch.know(stop.value)
            return watch


def alarms(
    watch: DriftMonitor,
    settings: DriftSettings,
    seconds: float,
    seed: int,
    streams: int = 4,
    make: Callable[[np.random.Generator, int], Answers] = lambda rng, stream: Answers(rng),
    stop_at_first: bool = False,
) -> list[Alarm]:
    """Returns the alarms of a monitor that sees new answers; after one it is inactive for the
    refractory time, as in adaptation.
    """
    sources = [make(np.random.default_rng([seed, 1, stream]), stream) for stream in range(streams)]
    found: list[Alarm] = []
    tested_s = deaf_s = 0.0
    for at_s in np.arange(0, seconds, settings.stride_ms / 1000):
        for stream, source in enumerate(sources):
            for probs in source.frame(at_s):
                watch.observe(f"cam-{stream}", int(at_s * S), probs)
        if at_s - tested_s < settings.test_s or at_s < deaf_s:
            continue
        tested_s = at_s
        alarm = watch.test(int(at_s * S))
        if alarm is not None:
            found.append(alarm)
            deaf_s = at_s + settings.refractory_s
            if stop_at_first:
                break
    return found
