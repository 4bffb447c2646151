"""The roads, pavements and houses of one junction: who may go where, and the picture of it when nobody is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np


@dataclass(frozen=True)
class Path:
    """A line that road users follow, in pixels of a 320x240 picture; `stands` says that they stay where they are."""

    kind: str
    start: tuple[float, float]
    end: tuple[float, float]
    speed: float  # pixels per second
    headway_s: float
    chance: float
    scale: float
    stands: bool = False


def lay_out(rng: np.random.Generator) -> tuple[list[Path], np.ndarray]:
    """The paths of one place and the picture of it when nobody is there."""
    middle, tilt = rng.uniform(140, 160), rng.uniform(-0.09, 0.09)
    far, near = middle - 18, middle + 22

    def across(y: float, rightwards: bool, reach: float = 50) -> tuple[tuple[float, float], tuple[float, float]]:
        a, b = (-reach, y - tilt * (160 + reach)), (320 + reach, y + tilt * (160 + reach))
        return (a, b) if rightwards else (b, a)

    left = bool(rng.random() < 0.5)
    paths = [
        Path("vehicle", *across(far + 8, left), float(rng.uniform(48, 70)), 3.4, 0.55, 0.86),
        Path("vehicle", *across(near + 10, not left), float(rng.uniform(48, 70)), 3.4, 0.55, 1.04),
    ]
    side_x, side_slope = rng.uniform(60, 260), rng.choice([-1, 1]) * rng.uniform(0.3, 0.42)
    y0, reach = middle - 72, 130 / abs(side_slope) * 0.55
    ends = ((side_x - reach, y0 - reach * side_slope), (side_x + reach, y0 + reach * side_slope))
    if rng.random() < 0.5:
        ends = (ends[1], ends[0])
    paths.append(Path("vehicle", *ends, float(rng.uniform(35, 55)), 4.5, 0.4, 0.74))
    paths.append(Path("person", *across(middle - 36, bool(rng.random() < 0.5), 20), 22.0, 9.0, 0.5, 0.82))
    paths.append(Path("person", *across(min(232, middle + 74), bool(rng.random() < 0.5), 20), 26.0, 8.0, 0.6, 1.05))
    for x, y, scale in (
        (rng.uniform(20, 60), -32.0, 0.84),
        (rng.uniform(240, 300), 66.0, 1.02),
        (rng.uniform(110, 200), 70.0, 1.0),
    ):
        y = min(232, middle + y + tilt * (x - 160))
        spread = rng.uniform(8, 20)
        paths.append(Path("person", (x - spread, y), (x + spread, y), 1.0, float(rng.uniform(8, 12)), 0.6, scale, True))
    return paths, _paint(rng, middle, tilt, (side_x, y0, side_slope))


def _paint(rng: np.random.Generator, middle: float, tilt: float, side: tuple[float, float, float]) -> np.ndarray:
    grass, stone = rng.uniform(70, 130, 3) * [0.9, 1.1, 0.7], rng.uniform(130, 175) * np.array([1.0, 0.99, 0.95])
    asphalt = rng.uniform(72, 105) * np.array([1.0, 1.0, 1.03])
    image = np.empty((240, 320, 3), np.uint8)
    image[:] = grass.astype(np.uint8)

    def band(y: float, half: float, colour: Any, slope: float = tilt, x: float = 160) -> None:
        ends = [(-40, y + slope * (-40 - x)), (360, y + slope * (360 - x))]
        corners = [(a, b - half) for a, b in ends] + [(a, b + half) for a, b in reversed(ends)]
        points = (np.array(corners) * 16).astype(np.int32)
        cv2.fillConvexPoly(image, points, tuple(float(c) for c in colour), cv2.LINE_AA, 4)

    _houses(image, rng, int(middle - 100))
    side_x, side_y, side_slope = side
    band(side_y - 4, 20, stone * 0.92, side_slope, side_x)
    band(side_y - 4, 15, asphalt * 0.95, side_slope, side_x)
    band(middle + 6, 72, stone)
    band(middle + 2, 40, asphalt)
    for y in (middle - 37, middle + 41):
        band(y, 1.2, (205, 205, 200))
    for x in range(-10, 330, 26):
        start, stop = (x, middle + 3 + tilt * (x - 160)), (x + 13, middle + 3 + tilt * (x - 147))
        cv2.line(image, tuple(map(int, start)), tuple(map(int, stop)), (215, 215, 205), 2, cv2.LINE_AA)
    zebra = int(rng.uniform(70, 250))
    for y in range(int(middle - 34), int(middle + 40), 9):
        offset = int(tilt * (zebra - 160))
        cv2.rectangle(image, (zebra - 11, y + offset), (zebra + 11, y + 4 + offset), (200, 200, 196), -1)
    grain = rng.normal(0, 4.0, (240, 320, 1)) + cv2.resize(rng.normal(0, 7.0, (15, 20)), (320, 240))[..., None]
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _houses(image: np.ndarray, rng: np.random.Generator, foot: int) -> None:
    image[: max(0, foot - 30)] = (168, 186, 204)
    x = -10
    while x < 320:
        width, height = int(rng.uniform(34, 70)), int(rng.uniform(25, 55))
        colour = rng.uniform(95, 185, 3)
        cv2.rectangle(image, (x, foot - height), (x + width, foot), tuple(map(float, colour)), -1)
        for wx in range(x + 5, x + width - 8, 13):
            for wy in range(foot - height + 5, foot - 9, 13):
                cv2.rectangle(image, (wx, wy), (wx + 6, wy + 7), tuple(map(float, colour * 0.55)), -1)
        x += width + int(rng.uniform(0, 8))
