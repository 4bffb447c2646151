"""What weather, light and a tired camera do to a picture, and schedules of them. Works on RGB images of any size.

`apply` changes pixels only. `displacement` says how a moved camera shifts the picture, so that truth boxes can follow.
Patterns that stay put (dirt, lamps, fog banks) follow `place`; what changes from frame to frame follows `rng`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

Image = np.ndarray


@dataclass(frozen=True)
class Scene:
    """What a condition may need to know beside the picture: the chance of this frame, and which camera it is."""

    rng: np.random.Generator
    place: int


@lru_cache(maxsize=256)
def _field(kind: str, height: int, width: int, place: int) -> np.ndarray:
    """A smooth pattern 0..1 [height, width] float32 that stays the same for one place."""
    rng = np.random.default_rng([place & 0xFFFFFFFF, sum(map(ord, kind))])
    coarse = {"fog": (4, 5), "dirt": (9, 12), "lamps": (3, 4)}[kind]
    field = cv2.resize(rng.random(coarse, dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    field = np.clip(field, 0, 1)
    if kind == "dirt":
        field = np.clip((field - 0.55) * 3.2, 0, 1)
    return np.ascontiguousarray(field, np.float32)


@lru_cache(maxsize=8)
def _grain(height: int, width: int) -> np.ndarray:
    """Unit noise x 16 as int16, a little larger than the picture; a random window of it is the noise of one frame."""
    rng = np.random.default_rng(11)
    return (rng.normal(0, 16, (height + 64, width + 64, 3))).astype(np.int16)


def _curve(image: Image, gain: Sequence[float], gamma: float = 1.0, lift: float = 0.0) -> Image:
    x = np.linspace(0, 1, 256)[:, None] ** gamma
    table = np.clip((x * np.array(gain) + lift) * 255, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table.reshape(1, 256, 3))


def _toward(image: Image, colour: Sequence[float], amount: np.ndarray) -> Image:
    """Mixes a colour in by `amount` 0..1 [height, width]."""
    share = cv2.merge([amount, amount, amount])
    tinted = share * np.array(colour, np.float32)
    return cv2.add(cv2.multiply(image, 1 - share, dtype=cv2.CV_32F), tinted, dtype=cv2.CV_8U)


def _add_noise(image: Image, sigma: float, scene: Scene) -> Image:
    height, width = image.shape[:2]
    y, x = scene.rng.integers(0, 64, 2)
    grain = _grain(height, width)[y : y + height, x : x + width]
    if scene.rng.random() < 0.5:
        grain = grain[::-1]
    return cv2.addWeighted(image, 1.0, grain, sigma / 16, 0, dtype=cv2.CV_8U)


def _blurred(image: Image, sigma: float) -> Image:
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.15 else image


def _unit(image: Image) -> float:
    """Lengths are written for a picture 240 pixels high; smaller pictures get shorter ones, but never none."""
    return max(0.25, min(4.0, image.shape[0] / 240))


def _day(image: Image, severity: float, scene: Scene) -> Image:
    return image


def _dusk(image: Image, severity: float, scene: Scene) -> Image:
    s = severity
    return _curve(image, (1 - 0.35 * s, 1 - 0.52 * s, 1 - 0.62 * s), gamma=1 + 0.25 * s, lift=0.02 * s)


def _night(image: Image, severity: float, scene: Scene) -> Image:
    s = severity
    dark = _curve(image, (1 - 0.72 * s, 1 - 0.68 * s, 1 - 0.5 * s), gamma=1 + 0.2 * s, lift=0.02 * s)
    lamps = _field("lamps", *image.shape[:2], scene.place)
    glow = cv2.merge([1 + 0.9 * s * lamps, 1 + 0.7 * s * lamps, 1 + 0.35 * s * lamps])
    return _add_noise(cv2.multiply(dark, glow, dtype=cv2.CV_8U), 5.0 * s, scene)


def _rain(image: Image, severity: float, scene: Scene) -> Image:
    grey = _blurred(_curve(image, [1 - 0.3 * severity] * 3, lift=0.1 * severity), 0.7 * severity * _unit(image))
    return _streaks(grey, int(90 * severity), scene, length=14, width=1)


def _streaks(image: Image, count: int, scene: Scene, length: float, width: int) -> Image:
    height, wide = image.shape[:2]
    long = max(2.0, length * _unit(image))
    lean = scene.rng.uniform(-0.3, 0.1)
    starts = scene.rng.random((count, 2)) * (wide + 10, height + 10) - 5
    ends = starts + np.stack([np.full(count, lean * long), scene.rng.uniform(0.5, 1.0, count) * long], 1)
    lines = (np.stack([starts, ends], 1) * 16).astype(np.int32)
    over = image.copy()
    cv2.polylines(over, list(lines), False, (215, 220, 228), width, cv2.LINE_AA, 4)
    return cv2.addWeighted(over, 0.55, image, 0.45, 0)


def _fog(image: Image, severity: float, scene: Scene) -> Image:
    height, width = image.shape[:2]
    depth = np.linspace(1.0, 0.75, height, dtype=np.float32)[:, None]
    amount = 0.78 * severity * depth * (0.85 + 0.15 * _field("fog", height, width, scene.place))
    return _toward(_blurred(image, 0.6 * severity * _unit(image)), (196, 200, 204), amount)


def _snow(image: Image, severity: float, scene: Scene) -> Image:
    white = _curve(image, [1 - 0.4 * severity] * 3, lift=0.3 * severity)
    flakes = int(160 * severity)
    height, width = image.shape[:2]
    radius = max(0.6, 1.4 * _unit(image))
    spots = scene.rng.random((flakes, 2)) * (width, height) * 16
    for (x, y), size in zip(spots.astype(int), scene.rng.uniform(0.5, 1.2, flakes) * radius * 16, strict=True):
        cv2.circle(white, (int(x), int(y)), int(size), (244, 246, 250), -1, cv2.LINE_AA, 4)
    return white


def _noise(image: Image, severity: float, scene: Scene) -> Image:
    return _add_noise(image, 38.0 * severity, scene)


def _blur(image: Image, severity: float, scene: Scene) -> Image:
    return _blurred(image, 2.2 * severity * _unit(image))


def _dirty(image: Image, severity: float, scene: Scene) -> Image:
    dirt = _field("dirt", *image.shape[:2], scene.place)
    smeared = _toward(_blurred(image, 1.5 * severity * _unit(image)), (118, 104, 84), 0.75 * severity * dirt)
    return cv2.addWeighted(smeared, 0.8, image, 0.2, 0)


def _moved(image: Image, severity: float, scene: Scene) -> Image:
    matrix = displacement("moved", severity, (image.shape[1], image.shape[0]), scene.place)
    return cv2.warpAffine(image, matrix, (image.shape[1], image.shape[0]), borderMode=cv2.BORDER_REFLECT_101)


_EFFECTS: dict[str, Callable[[Image, float, Scene], Image]] = {
    "day": _day,
    "dusk": _dusk,
    "night": _night,
    "rain": _rain,
    "fog": _fog,
    "snow": _snow,
    "noise": _noise,
    "blur": _blur,
    "dirty": _dirty,
    "moved": _moved,
}
CONDITIONS = tuple(_EFFECTS)


def parse(condition: str, severity: float = 1.0) -> list[tuple[str, float]]:
    """"fog:0.8+noise" -> [("fog", 0.8 * severity), ("noise", severity)]. Raises ValueError with what is allowed."""
    parts = []
    for part in condition.split("+"):
        name, _, own = part.strip().partition(":")
        if name not in _EFFECTS:
            raise ValueError(f"unknown condition {name!r}; known: {', '.join(CONDITIONS)}")
        try:
            parts.append((name, severity * (float(own) if own else 1.0)))
        except ValueError as error:
            raise ValueError(f"severity {own!r} of {name} is not a number such as 0.5") from error
    return parts


def apply(image: Image, condition: str, severity: float, rng: np.random.Generator, place: int = 0) -> Image:
    """The picture (RGB uint8 [h, w, 3]) under a condition or several ("night+noise:0.5"); severity 0 changes nothing."""
    scene = Scene(rng, place)
    for name, strength in parse(condition, severity):
        if strength > 0:
            image = _EFFECTS[name](image, strength, scene)
    return image


def displacement(condition: str, severity: float, size: tuple[int, int], place: int = 0) -> np.ndarray | None:
    """The 2x3 matrix by which a moved camera shifts a (width, height) picture; None when the camera stays."""
    moves = [strength for name, strength in parse(condition, severity) if name == "moved" and strength > 0]
    if not moves:
        return None
    width, height = size
    rng = np.random.default_rng([place & 0xFFFFFFFF, 77])
    side = rng.choice([-1.0, 1.0], 3)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), side[0] * 5 * moves[0], 1 + 0.08 * moves[0])
    matrix[:, 2] += side[1:] * (0.06 * width * moves[0], 0.04 * height * moves[0])
    return matrix


def move_boxes(objects: list[dict[str, Any]], matrix: np.ndarray | None, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Truth objects after `displacement`, cut at the border; those of which less than half is left are dropped."""
    if matrix is None:
        return objects
    moved = []
    for one in objects:
        x1, y1, x2, y2 = one["box"]
        corners = np.array([[x1, y1, 1], [x2, y1, 1], [x1, y2, 1], [x2, y2, 1]]) @ matrix.T
        low, high = corners.min(0), corners.max(0)
        shown = np.clip(np.concatenate([low, high]), 0, [*size, *size])
        if np.prod(shown[2:] - shown[:2]) >= 0.5 * np.prod(high - low):
            moved.append({**one, "box": [round(float(v), 1) for v in shown]})
    return moved


@dataclass(frozen=True)
class Schedule:
    """Which condition holds when, by fractions of a run: "day@0,fog+dusk@0.33" or "night" (from the start)."""

    steps: tuple[tuple[float, str], ...]

    @classmethod
    def parsed(cls, text: str) -> Schedule:
        steps = []
        for step in text.split(","):
            condition, _, start = step.strip().partition("@")
            parse(condition)
            steps.append((_fraction(start or "0", step), condition))
        return cls(tuple(sorted(steps)))

    def at(self, fraction: float) -> str:
        """The condition at a fraction 0..1 of the run; "day" before the first step."""
        past = [condition for start, condition in self.steps if start <= fraction]
        return past[-1] if past else "day"


@dataclass(frozen=True)
class Mix:
    """Which labels turn up how often, by fractions of a run: "even@0,bus:5/van:3@0.5"; labels left out weigh 1."""

    steps: tuple[tuple[float, Mapping[str, float]], ...]

    @classmethod
    def parsed(cls, text: str) -> Mix:
        steps = []
        for step in text.split(","):
            weights, _, start = step.strip().partition("@")
            pairs = [] if weights in ("", "even") else [p.partition(":") for p in weights.split("/")]
            try:
                table = {label.strip(): float(weight or "1") for label, _, weight in pairs}
            except ValueError as error:
                raise ValueError(f"class mix {weights!r}: write label:weight/label:weight") from error
            steps.append((_fraction(start or "0", step), table))
        return cls(tuple(sorted(steps, key=lambda s: s[0])))

    def at(self, fraction: float) -> Mapping[str, float]:
        past = [table for start, table in self.steps if start <= fraction]
        return past[-1] if past else {}


def _fraction(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{where!r}: what follows @ is a fraction of the run, 0 to 1")
    return value
