"""Reweights the classes: when only the class mix moved, a change of the head's bias is all that is needed."""

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.commands import RepairCandidate
from drift.repair.response import Situation

Array = NDArray[Any]


class PriorReweighting:
    """Estimates the new class mix by expectation maximisation, and shifts the head's bias to it.

    The method of Saerens, Latinne and Decaestecker (Neural Computation 2002). Takes no labels and
    microseconds. Useless, and harmful, where the pictures themselves changed: then it declines.

    Args:
        floor: least share of a class. pull: pseudo-counts of the assumed mix. rounds: of expectation and maximisation.
    """

    name = "prior"
    labels_min = 0

    def __init__(self, floor: float = 1e-3, pull: float = 5.0, rounds: int = 50):
        self.floor, self.pull, self.rounds = floor, pull, rounds

    def applies(self, situation: Situation) -> str:
        return "" if situation.alarm.kind == "prior" else "the pictures changed, not only the class mix"

    def repair(self, situation: Situation) -> Generator[None, None, RepairCandidate | None]:
        """Returns a candidate whose bias is shifted by log(estimated mix / mix that the incumbent assumes)."""
        before = situation.assumed_by(situation.incumbent)  # an earlier repair may have moved it already
        mix = self.estimate(situation.fresh_probs, before)
        yield
        head = situation.incumbent.head
        shifted = head.with_(head.weight, head.bias + np.log(mix / before))
        evidence = {"mix": [round(float(share), 4) for share in mix]}
        return RepairCandidate(self.name, head=shifted.arrays(), evidence=evidence, prior=mix)

    def estimate(self, probs: Array, prior: Array) -> Array:
        """Returns the class mix, float64 [K], behind posteriors [n, K] made under `prior`, smoothed by `pull`."""
        mix = np.asarray(prior, np.float64)
        for _ in range(self.rounds):
            weights = probs * (mix / prior)
            weights /= weights.sum(axis=1, keepdims=True)
            mix = (weights.sum(axis=0) + self.pull * prior) / (len(probs) + self.pull)
            mix = np.clip(mix, self.floor, 1)
            mix /= mix.sum()
        return np.asarray(mix)
