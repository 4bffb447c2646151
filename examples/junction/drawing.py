"""Draws road users from polygons, anti-aliased: the pen, how somebody looks, and six types of vehicle.

A shape is written in its own unit square (x forward 0..1, y up from the ground 0..1); the pen carries it to pixels and
keeps the bounds of what it drew, which become the ground-truth box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

VEHICLES = ("bicycle", "bus", "car", "motorcycle", "truck", "van")
PERSONS = ("running", "standing", "walking", "waving")

# Length and height in pixels at scale 1. They overlap on purpose once scale and jitter are applied.
SIZES = {
    "bicycle": (34, 34),
    "bus": (62, 29),
    "car": (46, 20),
    "motorcycle": (35, 30),
    "truck": (60, 29),
    "van": (48, 26),
}
SUBPIXEL_BITS = 4
RUBBER: Colour = (24, 24, 26)
GLASS: Colour = (70, 92, 112)


@dataclass
class Pen:
    """Carries points of a unit square to pixels; `origin` is the middle of the ground line, `slope` tilts it."""

    image: np.ndarray
    origin: tuple[float, float]
    size: tuple[float, float]
    direction: int = 1
    slope: float = 0.0
    bounds: list[float] = field(default_factory=lambda: [1e9, 1e9, -1e9, -1e9])

    def at(self, x: float, y: float) -> tuple[float, float]:
        along = (x - 0.5) * self.size[0] * self.direction
        return self.origin[0] + along, self.origin[1] - y * self.size[1] + along * self.slope

    def _grow(self, points: list[tuple[float, float]], pad: float) -> None:
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        box = self.bounds
        self.bounds = [
            min(box[0], min(xs) - pad),
            min(box[1], min(ys) - pad),
            max(box[2], max(xs) + pad),
            max(box[3], max(ys) + pad),
        ]

    def fill(self, points: Points, colour: Colour) -> None:
        pixels = [self.at(x, y) for x, y in points]
        self._grow(pixels, 0.5)
        grid = np.array(pixels) * (1 << SUBPIXEL_BITS)
        cv2.fillConvexPoly(self.image, grid.astype(np.int32), colour, cv2.LINE_AA, SUBPIXEL_BITS)

    def stroke(self, points: Points, colour: Colour, width: float) -> None:
        pixels = [self.at(x, y) for x, y in points]
        self._grow(pixels, width / 2)
        grid = (np.array(pixels) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.polylines(self.image, [grid], False, colour, max(1, round(width)), cv2.LINE_AA, SUBPIXEL_BITS)

    def disc(self, x: float, y: float, radius: float, colour: Colour, width: int = -1) -> None:
        """`radius` is a share of the height; `width` of -1 fills."""
        centre, pixels = self.at(x, y), radius * self.size[1]
        self._grow([centre], pixels + max(width, 0) / 2)
        one = 1 << SUBPIXEL_BITS
        cv2.circle(
            self.image,
            (int(centre[0] * one), int(centre[1] * one)),
            int(pixels * one),
            colour,
            width,
            cv2.LINE_AA,
            SUBPIXEL_BITS,
        )


@dataclass(frozen=True)
class Look:
    """What one road user looks like all its life: colours, proportions, and which of the variants of its kind."""

    body: Colour
    second: Colour
    skin: Colour
    variant: int
    stretch: tuple[float, float]


def shade(colour: Colour, factor: float) -> Colour:
    return tuple(int(min(255, max(0, c * factor))) for c in colour)  # type: ignore[return-value]


def random_look(rng: np.random.Generator) -> Look:
    """A look drawn from `rng`; colours are those of cars and clothes: many greys, some strong ones."""

    def colour() -> Colour:
        grey, value = rng.random() < 0.35, rng.uniform(40, 235)
        mix = np.full(3, value) if grey else rng.uniform(25, 235, 3)
        return tuple(int(c) for c in mix)  # type: ignore[return-value]

    tone = rng.uniform(0.45, 1.0)
    skin = (int(235 * tone), int(190 * tone), int(160 * tone))
    stretch = (float(rng.uniform(0.88, 1.12)), float(rng.uniform(0.9, 1.1)))
    return Look(colour(), colour(), skin, int(rng.integers(0, 6)), stretch)


def _wheels(pen: Pen, spots: Sequence[float], radius: float) -> None:
    for x in spots:
        pen.disc(x, radius, radius, RUBBER)
        pen.disc(x, radius, radius * 0.45, (150, 150, 150))


def _lamps(pen: Pen, y: float) -> None:
    pen.fill([(0.96, y), (1.0, y), (1.0, y + 0.12), (0.96, y + 0.12)], (250, 240, 190))
    pen.fill([(0.0, y), (0.035, y), (0.035, y + 0.12), (0.0, y + 0.12)], (200, 30, 30))


def _car(pen: Pen, look: Look) -> None:
    hatch = look.variant % 2
    rear, roof = (0.05, 0.12) if hatch else (0.14, 0.28)
    pen.fill([(rear, 0.54), (roof, 0.97), (0.6, 1.0), (0.79, 0.54)], shade(look.body, 0.9))
    pen.fill([(rear + 0.07, 0.56), (roof + 0.04, 0.9), (0.44, 0.92), (0.44, 0.56)], GLASS)
    pen.fill([(0.47, 0.56), (0.47, 0.92), (0.58, 0.93), (0.73, 0.56)], GLASS)
    pen.fill([(0.0, 0.36), (0.02, 0.56), (0.95, 0.55), (1.0, 0.36)], look.body)
    pen.fill([(0.0, 0.17), (0.0, 0.38), (1.0, 0.38), (1.0, 0.17)], shade(look.body, 0.72))
    _lamps(pen, 0.38)
    _wheels(pen, (0.2, 0.8), 0.2)


def _van(pen: Pen, look: Look) -> None:
    pen.fill([(0.0, 0.15), (0.0, 0.94), (0.05, 1.0), (0.7, 1.0), (0.88, 0.6), (1.0, 0.5), (1.0, 0.15)], look.body)
    pen.fill([(0.0, 0.15), (0.0, 0.35), (1.0, 0.35), (1.0, 0.15)], shade(look.body, 0.75))
    pen.fill([(0.62, 0.6), (0.62, 0.9), (0.71, 0.9), (0.83, 0.6)], GLASS)
    if look.variant % 3 == 0:
        pen.fill([(0.3, 0.62), (0.3, 0.88), (0.56, 0.88), (0.56, 0.62)], GLASS)
    if look.variant % 3 == 1:
        pen.fill([(0.08, 0.5), (0.08, 0.8), (0.45, 0.8), (0.45, 0.5)], look.second)
    pen.stroke([(0.59, 0.2), (0.59, 0.9)], shade(look.body, 0.55), 1)
    _lamps(pen, 0.36)
    _wheels(pen, (0.19, 0.81), 0.17)


def _bus(pen: Pen, look: Look) -> None:
    pen.fill([(0.0, 0.1), (0.0, 0.97), (0.02, 1.0), (0.98, 1.0), (1.0, 0.9), (1.0, 0.1)], look.body)
    pen.fill([(0.0, 0.1), (0.0, 0.3), (1.0, 0.3), (1.0, 0.1)], look.second)
    count = 5 + look.variant % 3
    for i in range(count):
        left = 0.04 + 0.84 * i / count
        right = left + 0.66 / count
        pen.fill([(left, 0.5), (left, 0.86), (right, 0.86), (right, 0.5)], GLASS)
    pen.fill([(0.91, 0.18), (0.91, 0.88), (0.99, 0.88), (0.99, 0.18)], shade(GLASS, 0.8))
    _lamps(pen, 0.3)
    _wheels(pen, (0.2, 0.76), 0.15)


def _truck(pen: Pen, look: Look) -> None:
    pen.fill([(0.02, 0.14), (0.02, 0.26), (0.97, 0.26), (0.97, 0.14)], (52, 52, 55))
    if look.variant % 3 == 2:  # a tanker
        tank = [
            (0.0, 0.45),
            (0.04, 0.8),
            (0.12, 0.9),
            (0.58, 0.9),
            (0.66, 0.8),
            (0.7, 0.45),
            (0.62, 0.27),
            (0.06, 0.27),
        ]
        pen.fill(tank, look.second)
        pen.fill([(0.04, 0.62), (0.04, 0.75), (0.66, 0.75), (0.66, 0.62)], shade(look.second, 1.25))
    else:
        pen.fill([(0.0, 0.25), (0.0, 1.0), (0.69, 1.0), (0.69, 0.25)], look.second)
        pen.fill([(0.0, 0.25), (0.0, 0.4), (0.69, 0.4), (0.69, 0.25)], shade(look.second, 0.8))
        for x in (0.23, 0.46):
            pen.stroke([(x, 0.28), (x, 0.97)], shade(look.second, 0.65), 1)
    pen.fill([(0.74, 0.16), (0.74, 0.84), (0.9, 0.84), (0.97, 0.52), (1.0, 0.48), (1.0, 0.16)], look.body)
    pen.fill([(0.81, 0.5), (0.81, 0.77), (0.89, 0.77), (0.95, 0.5)], GLASS)
    _lamps(pen, 0.26)
    _wheels(pen, (0.12, 0.27, 0.85), 0.15)


def _motorcycle(pen: Pen, look: Look) -> None:
    width = max(2.0, pen.size[1] * 0.11)
    _wheels(pen, (0.18, 0.82), 0.19)
    pen.fill([(0.1, 0.36), (0.3, 0.46), (0.66, 0.5), (0.84, 0.4), (0.6, 0.16), (0.3, 0.16)], look.body)
    pen.fill([(0.05, 0.42), (0.08, 0.5), (0.45, 0.5), (0.42, 0.4)], (40, 40, 42))
    pen.stroke([(0.82, 0.19), (0.7, 0.6), (0.64, 0.6)], (130, 130, 135), 1.6)
    pen.stroke([(0.36, 0.48), (0.56, 0.36), (0.5, 0.14)], shade(look.second, 0.6), width)
    pen.fill([(0.28, 0.46), (0.4, 0.82), (0.55, 0.8), (0.44, 0.46)], look.second)
    pen.stroke([(0.48, 0.76), (0.66, 0.58)], shade(look.second, 0.8), width * 0.8)
    pen.disc(0.54, 0.88, 0.115, shade(look.body, 0.8))
    pen.fill([(0.56, 0.84), (0.56, 0.92), (0.64, 0.9), (0.64, 0.84)], (50, 60, 70))


def _bicycle(pen: Pen, look: Look) -> None:
    width = max(2.0, pen.size[1] * 0.085)
    for x in (0.2, 0.8):
        pen.disc(x, 0.21, 0.2, RUBBER, width=1)
    frame = look.body
    pen.stroke([(0.2, 0.21), (0.36, 0.44), (0.7, 0.46), (0.48, 0.2), (0.2, 0.21)], frame, 1.4)
    pen.stroke([(0.8, 0.21), (0.7, 0.52), (0.78, 0.56)], frame, 1.4)
    pen.stroke([(0.36, 0.2 + 0.24), (0.34, 0.48)], frame, 1.4)
    pen.stroke([(0.36, 0.5), (0.56, 0.36), (0.48, 0.14)], shade(look.second, 0.55), width)
    pen.stroke([(0.36, 0.5), (0.47, 0.78)], look.second, width * 1.7)
    pen.stroke([(0.47, 0.77), (0.73, 0.56)], look.skin, width * 0.8)
    pen.disc(0.52, 0.9, 0.085, look.skin)
    pen.fill([(0.44, 0.91), (0.46, 0.985), (0.56, 0.985), (0.59, 0.92)], (60, 42, 30))


_VEHICLE_SHAPES: dict[str, Callable[[Pen, Look], None]] = {
    "bicycle": _bicycle,
    "bus": _bus,
    "car": _car,
    "motorcycle": _motorcycle,
    "truck": _truck,
    "van": _van,
}


def shadow(image: np.ndarray, centre: tuple[float, float], radii: tuple[float, float], strength: float = 0.38) -> None:
    """Darkens an ellipse on the ground, in place, on its own small piece of the image."""
    x1, y1 = max(0, int(centre[0] - radii[0] - 2)), max(0, int(centre[1] - radii[1] - 2))
    x2, y2 = int(centre[0] + radii[0] + 3), int(centre[1] + radii[1] + 3)
    piece = image[y1:y2, x1:x2]
    if piece.size == 0:
        return
    dark = piece.copy()
    axes = (max(1, int(radii[0])), max(1, int(radii[1])))
    cv2.ellipse(dark, (int(centre[0]) - x1, int(centre[1]) - y1), axes, 0, 0, 360, (20, 20, 24), -1, cv2.LINE_AA)
    cv2.addWeighted(dark, strength, piece, 1 - strength, 0, dst=piece)


def draw_vehicle(
    image: np.ndarray, label: str, ground: tuple[float, float], scale: float, direction: int, slope: float, look: Look
) -> list[float]:
    """Draws a vehicle standing at `ground` (pixels) facing `direction` (+1 right); returns its box [x1, y1, x2, y2]."""
    length, height = SIZES[label]
    size = (length * scale * look.stretch[0], height * scale * look.stretch[1])
    shadow(image, (ground[0] + 2, ground[1]), (size[0] * 0.52, size[1] * 0.13))
    pen = Pen(image, ground, size, direction, slope)
    _VEHICLE_SHAPES[label](pen, look)
    return pen.bounds
