"""Recalls an earlier variant: the world that came back may be one that it was made for. Trains nothing."""

from collections.abc import Generator

import numpy as np

from drift.commands import RepairCandidate
from drift.repair.response import Situation


class Recall:
    """Takes the stored variant that answers most of the labelled training samples right, if that beats what serves."""

    name = "recall"

    def __init__(self, labels_min: int = 20):
        self.labels_min = labels_min

    def applies(self, situation: Situation) -> str:
        return "" if situation.stored else "no other variant was ever promoted"

    def repair(self, situation: Situation) -> Generator[None, None, RepairCandidate | None]:
        """Returns the best stored variant on the labelled training samples as a candidate.

        `None` where none beats what serves.
        """
        labelled = situation.labelled
        right = []
        for variant in (situation.incumbent, *situation.stored):
            features = yield from situation.forward.features(variant.graph, labelled.images)
            right.append(float(situation.scorer.of_answers(variant.head.answers(features), labelled.labels).mean()))
        best = int(np.argmax(right))
        if best == 0:
            return None
        variant = situation.stored[best - 1]
        return RepairCandidate(
            self.name,
            head=variant.head.arrays(),
            graph=variant.graph,
            prior=situation.assumed_by(variant),
            evidence={"recalled": variant.name, "right": [round(r, 4) for r in right]},
        )
