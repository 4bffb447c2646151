"""Scores a window by BBSDs: the largest Kolmogorov-Smirnov distance over the classifier's softmax columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Bbsds:
    """Detects shift from softmax outputs alone (Lipton et al., ICML 2018; Rabanser et al., NeurIPS 2019); score 0..1.

    Calibrating the maximum over columns by bootstrap replaces Bonferroni and respects the columns' correlation.
    """

    name = "bbsds"

    def __init__(self, reference: Array):
        order = np.argsort(reference, axis=0, kind="stable")
        self._values = np.take_along_axis(reference, order, axis=0)  # each column ascending
        self._kind_at = reference.argmax(axis=1)[order]  # predicted class of the row behind each value
        self._share = _shares(reference)
        self._steps = np.arange(1, len(reference) + 1) / len(reference)

    def score(self, probs: Array) -> float:
        return max(_distance(self._values[:, k], self._steps, probs[:, k]) for k in range(probs.shape[1]))


class BbsdsGivenClass(Bbsds):
    """Measures the same distance after the reference is re-weighted to the window's predicted classes.

    A mere change of the class mix leaves it small; a change of the pictures does not: it tells the two apart.
    """

    name = "bbsds_given_class"

    def score(self, probs: Array) -> float:
        weights = (_shares(probs) / self._share)[self._kind_at]
        steps = np.cumsum(weights, axis=0)
        steps /= steps[-1]
        return max(_distance(self._values[:, k], steps[:, k], probs[:, k]) for k in range(probs.shape[1]))


def _shares(probs: Array) -> Array:
    """Shares of the predicted classes, half a count added to each so that no share is zero: float64 [K]."""
    counts = np.bincount(probs.argmax(axis=1), minlength=probs.shape[1]) + 0.5
    return np.asarray(counts / counts.sum())


def _distance(values: Array, steps: Array, window: Array) -> float:
    """Largest gap between the window's distribution function and the one that climbs to `steps` at `values`."""
    window = np.sort(window)
    m = len(window)
    before = np.searchsorted(values, window, side="left")
    through = np.searchsorted(values, window, side="right")
    climbed = np.concatenate([[0.0], steps])
    below, above = np.arange(m) / m, np.arange(1, m + 1) / m
    # The gap is widest just before or just at a value of the window. Of equal values the first and last decide.
    first = np.searchsorted(window, window, side="left")
    last = np.searchsorted(window, window, side="right") - 1
    return float(max(np.max(climbed[before] - below[first]), np.max(above[last] - climbed[through]), 0.0))
