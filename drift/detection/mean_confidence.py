"""Mean confidence: how far the mean of max softmax is from the reference's. The best label-free proxy of harm."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class MeanConfidence:
    """Difference of confidences (Guillory et al., ICCV 2021), score 0..1. Either way: in the dark some grow sure."""

    name = "mean_confidence"

    def __init__(self, reference: NDArray[Any]):
        self.expected = float(np.mean(np.max(reference, axis=1)))

    def score(self, probs: NDArray[Any]) -> float:
        return abs(self.expected - float(np.mean(np.max(probs, axis=1))))
