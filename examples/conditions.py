"""What weather, light and lenses do to a picture, and when: the same for drawn scenes and for anybody's photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from porting.errors import UserError

Pixels = NDArray[np.uint8]  # RGB [h, w, 3]
Floats = NDArray[np.float32]  # the same in 0..255
TILE = 512  # side of the noise that every frame cuts its own piece from: drawing it anew costs more than the model


@lru_cache(maxsize=1)
def _noise_tile() -> Floats:
    return np.random.default_rng(1).standard_normal((TILE, TILE, 3)).astype(np.float32)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Standard normal [h, w, 3], from a random place of the tile (mirrored beyond its border)."""
    height, width = shape[:2]
    y, x = rng.integers(0, TILE, 2)
    rows, columns = (y + np.arange(height)) % TILE, (x + np.arange(width)) % TILE
    noise: Floats = _noise_tile()[rows[:, None], columns[None, :]]
    return noise


def _blurred(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32) if sigma > 0.05 else image


def _sharpness(image: Floats) -> float:
    """Blur that looks alike on a thumbnail and on a frame: pixels of sigma at severity 1."""
    return 0.75 + float(min(image.shape[:2])) / 300


def _day(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    return image


def _dusk(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    return image * (1 - severity * np.array([0.30, 0.42, 0.50], np.float32))


def _night(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    """Little light, bluish, lifted blacks, and the noise of a sensor that turns its gain up."""
    dark = image * (1 - severity * np.array([0.80, 0.76, 0.68], np.float32)) + severity * 14
    return dark + severity * 7 * _noise(image.shape, rng)


def _fog(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    """Light scattered in: contrast goes, more of it far away (towards the top of the picture)."""
    height = image.shape[0]
    veil = np.linspace(0.80, 0.62, height, dtype=np.float32)[:, None, None] * severity
    foggy: Floats = _blurred(image, 0.5 * severity * _sharpness(image)) * (1 - veil) + 205 * veil
    return foggy


def _rain(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    """Streaks, and everything a little grey and soft."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    length = max(3, height // 12)
    for x, y in rng.integers(0, (width, height), (int(0.0022 * severity * height * width), 2)).tolist():
        cv2.line(streaks, (x, y), (x - length // 4, y + length), 1.0, 1)
    soft = _blurred(image, 0.5 * severity * _sharpness(image)) * (1 - 0.28 * severity) + 26 * severity
    return soft + 75 * severity * _blurred(streaks, 0.6)[:, :, None]


def _snow(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    """Flakes, white ground light, low contrast."""
    height, width = image.shape[:2]
    flakes = np.zeros((height, width), np.float32)
    radius = max(1, height // 120)
    for x, y in rng.integers(0, (width, height), (int(0.004 * severity * height * width), 2)).tolist():
        cv2.circle(flakes, (x, y), radius, 1.0, -1)
    veiled = image * (1 - 0.38 * severity) + 82 * severity
    return veiled + 150 * severity * _blurred(flakes, 0.6)[:, :, None]


def _sensor(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    return image + 38 * severity * _noise(image.shape, rng)


def _blur(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    return _blurred(image, 1.3 * severity * _sharpness(image))


@lru_cache(maxsize=16)
def _dirt(height: int, width: int) -> Floats:
    """Smears that stay where they are: how much light each pixel loses, 0..1, [h, w, 1]."""
    smears = np.random.default_rng(2).random((max(2, height // 24), max(2, width // 24))).astype(np.float32)
    wide = cv2.resize(smears, (width, height), interpolation=cv2.INTER_CUBIC)
    lost: Floats = np.clip((wide - 0.45) * 2.2, 0, 1)[:, :, None]
    return lost


def _dirty_lens(image: Floats, severity: float, rng: np.random.Generator) -> Floats:
    dirt = severity * _dirt(*image.shape[:2])
    hazy = _blurred(image, 2.2 * _sharpness(image)) * 0.55 + 45
    return image * (1 - dirt) + hazy * dirt


CONDITIONS: dict[str, Callable[[Floats, float, np.random.Generator], Floats]] = {
    "day": _day,
    "dusk": _dusk,
    "night": _night,
    "fog": _fog,
    "rain": _rain,
    "snow": _snow,
    "noise": _sensor,
    "blur": _blur,
    "dirty_lens": _dirty_lens,
}


def apply(image: Pixels, condition: str, severity: float, rng: np.random.Generator) -> Pixels:
    """The picture under a condition, or under several joined by `+`, in that order.

    Args:
        image: RGB uint8 [h, w, 3] of any size; it is not changed.
        severity: 0 (nothing) to 1 (a bad night); more is possible.

    Raises `UserError` for a name that is none.
    """
    changed = image.astype(np.float32)
    for name in condition.split("+"):
        changed = known(name)(changed, severity, rng)
    return np.clip(changed, 0, 255).astype(np.uint8)


def known(name: str) -> Callable[[Floats, float, np.random.Generator], Floats]:
    if name not in CONDITIONS:
        raise UserError(f"condition {name!r} is unknown; there are {', '.join(CONDITIONS)}, and mixes like night+noise")
    return CONDITIONS[name]


@dataclass(frozen=True, slots=True)
class Phase:
    """From `start_s` on."""

    condition: str
    severity: float
    start_s: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which condition when: `day@0,night*0.8@30,fog@60` (severity 1 where none is said, times in seconds)."""

    phases: tuple[Phase, ...]

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Raises `UserError`."""
        phases = tuple(sorted(map(_phase, text.split(",")), key=lambda phase: phase.start_s))
        return cls(phases)

    def phase(self, t_s: float) -> Phase:
        return next((phase for phase in reversed(self.phases) if phase.start_s <= t_s), Phase("day", 1.0, 0.0))

    def at(self, t_s: float) -> str:
        """Name of the condition at that time; `day` before the first one begins."""
        return self.phase(t_s).condition

    def apply(self, image: Pixels, t_s: float, rng: np.random.Generator) -> Pixels:
        phase = self.phase(t_s)
        return image if phase.condition == "day" else apply(image, phase.condition, phase.severity, rng)


def _phase(text: str) -> Phase:
    words, _, start = text.strip().partition("@")
    condition, _, severity = words.partition("*")
    for name in condition.split("+"):
        known(name)
    try:
        return Phase(condition, float(severity or 1), float(start or 0))
    except ValueError:
        raise UserError(f"schedule {text!r}: expected condition[*severity]@second, e.g. night*0.8@30") from None
