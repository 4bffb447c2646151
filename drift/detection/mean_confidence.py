"""Scores a window by how far its mean of max softmax is from the reference's: the best label-free proxy of harm."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class MeanConfidence:
    """Computes the difference of confidences (Guillory et al., ICCV 2021), score 0..1.

    A rise counts like a fall, since some models grow more confident in the dark.
    """

    name = "mean_confidence"

    def __init__(self, reference: NDArray[Any]):
        self.expected = float(np.mean(np.max(reference, axis=1)))

    def score(self, probs: NDArray[Any]) -> float:
        return abs(self.expected - float(np.mean(np.max(probs, axis=1))))
