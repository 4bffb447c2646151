"""What changes at a junction beside light and weather: who comes by, and where the camera looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from porting.errors import UserError


@dataclass(frozen=True, slots=True)
class Mix:
    """Which labels turn up how often, by seconds: `even@0,bus:5/van:3@40`; labels left out weigh 1."""

    steps: tuple[tuple[float, Mapping[str, float]], ...]

    @classmethod
    def parse(cls, text: str) -> Mix:
        """Raises `UserError`."""
        return cls(tuple(sorted(map(_step, text.split(",")), key=lambda step: step[0])))

    def weights(self, labels: Sequence[str], t_s: float) -> np.ndarray:
        """Relative weights of `labels` at that time, all above 0."""
        table = next((table for start, table in reversed(self.steps) if start <= t_s), {})
        return np.array([max(0.0, table.get(label, 1.0)) for label in labels]) + 1e-9


def _step(text: str) -> tuple[float, Mapping[str, float]]:
    words, _, start = text.strip().partition("@")
    pairs = [] if words == "even" else [pair.partition(":") for pair in words.split("/")]
    try:
        return float(start or 0), {label: float(weight) for label, _, weight in pairs}
    except ValueError:
        raise UserError(f"mix {text!r}: expected label:weight/label:weight@second, e.g. bus:5/van:3@40") from None


def knock(rng: np.random.Generator) -> np.ndarray:
    """The 2x3 matrix by which a knock moves a 320x240 picture: some degrees and some twenty pixels."""
    side = rng.choice([-1.0, 1.0], 3)
    matrix = np.asarray(cv2.getRotationMatrix2D((160, 120), side[0] * 5, 1.08), np.float64)
    matrix[:, 2] += side[1:] * (19, 10)
    return matrix


def moved(box: Sequence[float], matrix: np.ndarray) -> list[float]:
    """The upright box around a box that was moved."""
    x1, y1, x2, y2 = box
    corners = np.array([[x1, y1, 1], [x2, y1, 1], [x1, y2, 1], [x2, y2, 1]]) @ matrix.T
    return [float(v) for v in (*corners.min(0), *corners.max(0))]
