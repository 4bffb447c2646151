"""Decides from a few labels whether a drift does harm: half at random to estimate, half far away to repair."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaincinv

Array = NDArray[Any]


def choose(features: Array, centroid: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Returns row numbers (at random, far): two disjoint halves of `count`, or of all rows where there are fewer.

    features: float [n, D]. Far rows have the largest cosine distance from the reference's centroid among those that
    chance left over (the sampling rule of AdaInf, SIGCOMM 2023). Only the random half is an unbiased sample of the
    stream.
    """
    count = min(count, len(features))
    chance = np.sort(rng.permutation(len(features))[: (count + 1) // 2])
    rest = np.setdiff1d(np.arange(len(features)), chance)
    nearness = _unit(features[rest]) @ _unit(centroid[None])[0]
    return chance, np.sort(rest[np.argsort(nearness, kind="stable")[: count // 2]])


def centroid(features: Array) -> Array:
    """Returns the mean direction of feature vectors [n, D]: float [D]."""
    return np.asarray(_unit(features).mean(axis=0))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def agreement(accuracy: float, teacher_error: float, classes: int) -> float:
    """Returns how often a model of this accuracy agrees with a teacher, 0..1.

    The teacher errs independently of the model, uniformly over the other classes.
    """
    return accuracy * (1 - teacher_error) + (1 - accuracy) * teacher_error / max(1, classes - 1)


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Holds what an audit found.

    accuracy: 0..1, corrected for the teacher's error. low, high: 95 % Clopper-Pearson interval of the agreement.
    p_harm: probability of so few agreements if nothing were wrong.
    """

    verdict: Literal["harmful", "harmless", "undecided"]
    right: int
    labels: int
    accuracy: float
    low: float
    high: float
    p_harm: float

    def fields(self) -> dict[str, Any]:
        return {name: round(v, 5) if isinstance(v, float) else v for name, v in asdict(self).items()}


def find(
    right: int,
    labels: int,
    accuracy: float,
    classes: int,
    teacher_error: float = 0.03,
    alpha: float = 0.01,
    margin: float = 0.10,
) -> AuditFinding:
    """Tests the labels drawn at random against the reference's `accuracy`, 0..1, by exact binomial tests.

    The verdict is "harmful" where so few right answers have probability <= alpha at the reference accuracy, "harmless"
    where so many have probability <= 0.1 at an accuracy `margin` below it, else "undecided"; without labels
    "undecided".
    """
    assert 0 <= right <= labels, f"{right} right of {labels}"
    if labels == 0:
        return AuditFinding("undecided", 0, 0, accuracy, 0.0, 1.0, 1.0)
    expected = agreement(accuracy, teacher_error, classes)
    harmed = agreement(max(accuracy - margin, 1 / classes), teacher_error, classes)
    p_harm = float(bdtr(right, labels, expected))
    p_fine = float(bdtrc(right - 1, labels, harmed)) if right else 1.0
    verdict: Literal["harmful", "harmless", "undecided"] = (
        "harmful" if p_harm <= alpha else "harmless" if p_fine <= 0.1 else "undecided"
    )
    low, high = interval(right, labels)
    return AuditFinding(verdict, right, labels, corrected(right / labels, teacher_error, classes), low, high, p_harm)


def corrected(agreeing: float, teacher_error: float, classes: int) -> float:
    """Returns the accuracy behind an observed agreement: the inverse of `agreement`, kept in 0..1."""
    wrong = teacher_error / max(1, classes - 1)
    return float(np.clip((agreeing - wrong) / max(1 - teacher_error - wrong, 1e-9), 0, 1))


def interval(right: int, labels: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the Clopper-Pearson interval (low, high), each 0..1, of the share `right` / `labels`."""
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else float(betaincinv(right, labels - right + 1, tail))
    high = 1.0 if right == labels else float(betaincinv(right + 1, labels - right, 1 - tail))
    return low, high
