"""Draws a person in one of four activities: a skeleton of angles that move with a phase, dressed in strokes."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from examples.junction.drawing import Look, Pen, shade, shadow


def _limb(start: tuple[float, float], upper: float, lower: float, length: float) -> list[tuple[float, float]]:
    """Two bones of equal length from `start`; angles in radians from hanging straight down, positive is forward."""
    x, y = start
    half = length / 2
    knee = (x + half * sin(upper), y - half * cos(upper))
    return [start, knee, (knee[0] + half * sin(lower), knee[1] - half * cos(lower))]


def _pose(label: str, phase: float, variant: int) -> tuple[float, list[tuple[float, float]], list[tuple[float, float]]]:
    """Lean of the trunk, then (upper, lower) angles of both legs and both arms."""
    s, c = sin(phase), cos(phase)
    if label == "walking":
        legs = [(0.52 * s, 0.52 * s - 0.35 * max(0.0, c)), (-0.52 * s, -0.52 * s - 0.35 * max(0.0, -c))]
        return 0.05, legs, [(-0.5 * s, -0.5 * s + 0.25), (0.5 * s, 0.5 * s + 0.25)]
    if label == "running":
        legs = [(0.25 + 0.75 * s, -0.35 + 0.85 * s - 0.75 * max(0.0, c))]
        legs.append((0.25 - 0.75 * s, -0.35 - 0.85 * s - 0.75 * max(0.0, -c)))
        return 0.26, legs, [(0.1 - 0.8 * s, 1.5 - 0.6 * s), (0.1 + 0.8 * s, 1.5 + 0.6 * s)]
    sway = 0.03 * s
    legs = [(0.12 + sway, 0.08 + sway), (-0.12 + sway, -0.08 + sway)]
    if label == "standing":
        elbow = 0.9 if variant % 3 == 0 else 0.12  # every third one has the hands on the hips
        return sway, legs, [(0.3 + elbow / 3, 0.2 - elbow), (-0.3 - elbow / 3, -0.2 + elbow)]
    lifted = (2.3 + 0.25 * s, 2.85 + 0.5 * s)
    other = (-2.3 + 0.25 * s, -2.85 + 0.5 * s) if variant % 3 == 0 else (-0.3, -0.2)
    return sway, legs, [lifted, other]


def draw_person(
    image: np.ndarray, label: str, ground: tuple[float, float], height: float, direction: int, phase: float, look: Look
) -> list[float]:
    """Draws a person in one activity at a phase of its movement (radians); returns the box [x1, y1, x2, y2]."""
    height *= look.stretch[1]
    shadow(image, (ground[0] + 2, ground[1]), (height * 0.22, height * 0.06))
    lift = 0.03 * abs(cos(phase)) if label == "running" else 0.0
    pen = Pen(image, (ground[0], ground[1] - lift * height), (height, height), direction)
    lean, legs, arms = _pose(label, phase, look.variant)
    hip = (0.5, 0.47)
    neck = (hip[0] + 0.35 * sin(lean), hip[1] + 0.35 * cos(lean))
    bulk = height * (0.075 + 0.012 * (look.variant % 2))
    trousers, sleeve = shade(look.second, 0.75), shade(look.body, 0.8)
    side = 0.035 if label in ("standing", "waving") else 0.0
    shoulder = 0.07 if side else 0.0
    pen.stroke(_limb((neck[0] - shoulder, neck[1] - 0.02), *arms[1], 0.34), shade(sleeve, 0.85), bulk * 0.7)
    pen.stroke(_limb((hip[0] - side, hip[1]), *legs[1], 0.46), shade(trousers, 0.8), bulk)
    pen.stroke(_limb((hip[0] + side, hip[1]), *legs[0], 0.46), trousers, bulk)
    wide = 0.085 + side * 0.6
    pen.fill(
        [(hip[0] - wide * 0.8, hip[1] - 0.03), (neck[0] - wide, neck[1]), (neck[0] + wide, neck[1]),
         (hip[0] + wide * 0.8, hip[1] - 0.03)],
        look.body,
    )  # fmt: skip
    hand = _limb((neck[0] + shoulder, neck[1] - 0.02), *arms[0], 0.34)
    pen.stroke(hand, sleeve, bulk * 0.75)
    pen.disc(*hand[-1], 0.03, look.skin)
    pen.disc(neck[0] + 0.04 * sin(lean), neck[1] + 0.09, 0.075, look.skin)
    pen.disc(neck[0] + 0.04 * sin(lean) - 0.012, neck[1] + 0.115, 0.06, (60, 45, 35))
    return pen.bounds


def gait(label: str, seconds: float, start: float) -> float:
    """Phase of the movement in radians: how often per second people of this activity repeat themselves."""
    return start + 2 * pi * seconds * {"walking": 0.9, "running": 1.5, "standing": 0.2, "waving": 1.1}[label]
