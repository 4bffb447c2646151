"""Defines the seam of window tests, which score how unlike the known world a window of answers is."""

from typing import Any, Protocol

from numpy.typing import NDArray


class WindowTest(Protocol):
    """Scores windows against the reference's answers, float32 [n, K] (`Signals.answer`, row by row), given when built.

    One file, one class, one main method for each. A test knows no threshold: `drift.detection.thresholds` finds it from
    the site's own correlated frames.
    """

    name: str

    def score(self, answers: NDArray[Any]) -> float:
        """Returns the score of a window of answers, float32 [m, K], m >= 1; larger: less like the reference.

        Finite; depends on the set of rows only.
        """
