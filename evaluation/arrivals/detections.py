"""Decides what each frame contains, the same under every policy: by a hash of the frame, or as it was recorded."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp

from edge.answers.cascade import Cascade
from edge.answers.hashing import hash_uniform
from edge.core.events import Request, Task
from edge.core.interfaces import AnswerRule
from edge.core.simulation import Detections

DETECTIONS_MAX = 1_000  # of one kind in one frame


@dataclass(frozen=True)
class Averages:
    """Draws the number of items of each kind in a frame from a Poisson distribution. `means`:
    model -> kind -> mean items per frame.
    """

    means: Mapping[str, Mapping[str, float]]
    seed: int = 0

    def __call__(self, task: Task) -> Mapping[str, int]:
        kinds = self.means.get(task.model)
        if not kinds or task.parent is not None:
            return {}
        frame = task.request
        return {
            kind: poisson(hash_uniform(self.seed, "finds", frame, task.model, kind), mean)
            for kind, mean in kinds.items()
        }


@dataclass(frozen=True)
class AsRecorded:
    """Returns the items that were recorded. `found`: request -> model -> kind -> items."""

    found: Mapping[int, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    def __call__(self, task: Task) -> Mapping[str, int]:
        return self.found.get(task.request, {}).get(task.model, {}) if task.parent is None else {}


def poisson(uniform: float, mean: float) -> int:
    """Returns the quantile at `uniform`, 0..1, of a Poisson distribution with this mean; at most `DETECTIONS_MAX`."""
    number, term = 0, exp(-mean)
    below = term
    while below <= uniform and number < DETECTIONS_MAX:
        number += 1
        term *= mean / number
        below += term
    return number


def items_of(answers: Mapping[str, AnswerRule], detections: Detections) -> dict[str, dict[str, float]]:
    """Returns how often a request of each app asks for each model on average, from which loads are computed."""
    return {app: dict(asked(answer, detections)) for app, answer in answers.items()}


def asked(answer: AnswerRule, detections: Detections) -> dict[str, float]:
    """Returns how often one request asks for each model on average: once per task that it begins with and, for a
    cascade, once per expected detection.
    """
    often: dict[str, float] = defaultdict(float)
    for opening in answer.opened(Request(0, "", "", 0)):
        often[opening.model] += 1
    if isinstance(answer, Cascade):
        for kind, model in answer.classify.items():
            often[model] += mean_of(detections, answer.detect, kind, answer.items_max)
    return often


def mean_of(detections: Detections, model: str, kind: str, most: int) -> float:
    """Returns the mean number of items of a kind in a frame, at most `most` of each frame, without running anything."""
    if isinstance(detections, Averages):
        return min(most, detections.means.get(model, {}).get(kind, 0.0))
    if isinstance(detections, AsRecorded):
        counts = [min(most, of[model].get(kind, 0)) for of in detections.found.values() if model in of]
        return sum(counts) / len(counts) if counts else 0.0
    return detections.get(model, {}).get(kind, 0) / 2 if isinstance(detections, Mapping) else 0.0  # drawn evenly from 0
