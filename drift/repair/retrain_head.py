"""Retrains the head: softmax regression on labelled new features, half and half with a replay of old ones."""

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.commands import RepairCandidate
from drift.repair.deployed import LinearHead
from drift.repair.inference import BackboneRunner
from drift.repair.response import Situation
from porting.formats.format import HeadFormat

Array = NDArray[Any]

STEPS_PER_SLICE = 10


class HeadRetraining:
    """Retrains the last layer (Kirichenko et al., 2022) with latent replay (Pellegrini et al., 2019).

    Adam on cross-entropy with smoothed labels; batches are half new, half old, each class-balanced; `pull` x
    ||W - W0||^2 keeps the head near the served one. Features come from the serving backbone, so that replay stays true
    after the backbone was re-aligned.
    """

    name = "head"

    def __init__(
        self,
        labels_min: int = 40,
        steps: int = 400,
        batch: int = 64,
        rate: float = 0.01,
        pull: float = 0.002,
        smoothing: float = 0.05,
    ):
        self.labels_min, self.steps, self.batch = labels_min, steps, batch
        self.rate, self.pull, self.smoothing = rate, pull, smoothing

    def applies(self, situation: Situation) -> str:
        return ""  # whatever the alarm took the drift for: labels tell, and the judge decides

    def repair(self, situation: Situation) -> Generator[None, None, RepairCandidate | None]:
        """Returns a candidate with a retrained head; runs the backbone over old pictures only where it was changed."""
        graph, forward = situation.incumbent.graph, situation.forward
        new = yield from forward.features(graph, situation.labelled.images)
        old = yield from self._replayed(situation, forward)
        head = yield from self.train(
            situation.incumbent.head,
            (new, situation.labelled.labels),
            (old, situation.replay.old.labels),
            situation.seed,
        )
        moved = float(np.linalg.norm(head.weight - situation.incumbent.head.weight))
        evidence = {"labels": len(new), "replayed": len(old), "steps": self.steps, "moved": round(moved, 4)}
        return RepairCandidate(self.name, head=head.arrays(), evidence=evidence)

    def _replayed(self, situation: Situation, forward: BackboneRunner) -> Generator[None, None, Array]:
        replay = situation.replay
        if replay.graph == situation.incumbent.graph:
            return replay.features
        return (yield from forward.features(situation.incumbent.graph, replay.old.images))

    def train(
        self, head: LinearHead, new: tuple[Array, Array], old: tuple[Array, Array], seed: int
    ) -> Generator[None, None, LinearHead]:
        """Returns the retrained head, in slices of 10 steps, each a few small products.

        new, old: (features float32 [n, D], labels int64 [n]). The learning rate fades to 0 by half a cosine.
        """
        rng = np.random.default_rng(seed)
        both = np.concatenate([new[0], old[0]])
        middle, spread = both.mean(axis=0), both.std() + 1e-6  # one scale for all: the pull means the same everywhere
        start = np.column_stack([head.weight * spread, head.bias + head.weight @ middle]).astype(np.float64)
        weight, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
        draws = [_Draw((features - middle) / spread, labels, len(head.bias), rng) for features, labels in (new, old)]
        for step in range(1, self.steps + 1):
            rows, targets = (
                np.concatenate(part) for part in zip(*(d.take(self.batch // 2) for d in draws), strict=True)
            )
            gradient = self._gradient(head.format, weight, start, rows, targets)
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            fading = self.rate * 0.5 * (1 + np.cos(np.pi * step / self.steps))
            weight -= fading * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            if step % STEPS_PER_SLICE == 0:
                yield
        scaled = weight[:, :-1] / spread
        return head.with_(scaled, weight[:, -1] - scaled @ middle)

    def _gradient(self, format: HeadFormat, weight: Array, start: Array, rows: Array, targets: Array) -> Array:
        classes = len(weight)
        wanted = np.full((len(rows), classes), self.smoothing / classes)
        wanted[np.arange(len(rows)), targets] += 1 - self.smoothing
        error = format.probabilities(rows @ weight.T).astype(np.float64) - wanted
        return np.asarray(error.T @ rows / len(rows) + 2 * self.pull * (weight - start))


class _Draw:
    """Draws class-balanced with replacement; a class with few samples counts for what its number can carry."""

    def __init__(self, features: Array, labels: Array, classes: int, rng: np.random.Generator):
        self.rows = np.column_stack([features, np.ones(len(features))])
        self.labels, self.rng = labels, rng
        counts = np.bincount(labels, minlength=classes).astype(float)
        share = np.where(counts > 0, np.minimum(counts, counts.max() / 4 + 1) / np.maximum(counts, 1), 0)
        self.chance = share[labels] / share[labels].sum()

    def take(self, count: int) -> tuple[Array, Array]:
        picked = self.rng.choice(len(self.labels), size=count, p=self.chance)
        return self.rows[picked], self.labels[picked]
