"""Scores a window by its class mix: the chi-square distance of the predicted classes from the reference's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class ClassPrior:
    """Computes Pearson's chi-square per sample, score >= 0: sum (window - reference)^2 / reference over class shares.

    Its own channel, because its remedy differs: a change of the mix needs re-weighting, not training, and confidence
    does not see it at all.
    """

    name = "class_prior"

    def __init__(self, reference: NDArray[Any]):
        counts = np.bincount(reference.argmax(axis=1), minlength=reference.shape[1]) + 1.0  # no share is zero
        self.expected = counts / counts.sum()

    def score(self, probs: NDArray[Any]) -> float:
        shares = np.bincount(probs.argmax(axis=1), minlength=len(self.expected)) / len(probs)
        return float(np.sum((shares - self.expected) ** 2 / self.expected))
