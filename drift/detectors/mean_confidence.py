"""Mean confidence: how far the mean of max softmax fell below the reference's. The best label-free proxy of harm."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class MeanConfidence:
    """One-sided difference of confidences (Guillory et al., ICCV 2021). Score -1..1; positive: less sure."""

    name = "mean_confidence"

    def __init__(self, reference: NDArray[Any]):
        self.expected = float(np.mean(np.max(reference, axis=1)))

    def score(self, probs: NDArray[Any]) -> float:
        return self.expected - float(np.mean(np.max(probs, axis=1)))
