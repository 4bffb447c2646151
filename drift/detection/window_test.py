"""Window tests: is a window of answers unlike the known world? One file, one class, one main method each."""

from typing import Any, Protocol

from numpy.typing import NDArray


class WindowTest(Protocol):
    """Built with the reference's answers, float32 [n, K] (`Signals.answer`, row by row). Larger scores: less like them.

    A test knows no threshold: `drift.detection.thresholds` finds it from the site's own correlated frames.
    """

    name: str

    def score(self, answers: NDArray[Any]) -> float:
        """Score of a window of answers, float32 [m, K], m >= 1. Finite; depends on the set of rows only."""
