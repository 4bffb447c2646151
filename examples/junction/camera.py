"""A junction filmed under a schedule: frames, truth and the condition of each, repeatable by seed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from examples.junction.conditions import Mix, Schedule, apply, displacement, move_boxes
from examples.junction.scene import Junction

DEFAULT_DRIFT = "fog:0.8+dusk:0.5"


@dataclass(frozen=True)
class Shot:
    """One frame: RGB uint8 [height, width, 3], the truth of it, and the condition it was taken in."""

    index: int
    image: np.ndarray
    objects: list[dict[str, Any]]
    condition: str


class Camera:
    """`shot(i)` is frame i of a run of `duration_s` seconds at `fps`; after the end the last condition stays."""

    def __init__(
        self,
        camera: int | str,
        seed: int,
        fps: float = 5.0,
        duration_s: float = 90.0,
        schedule: str = "day",
        mix: str = "even",
        size: tuple[int, int] = (320, 240),
    ) -> None:
        self.junction = Junction(camera, seed, fps, *size)
        self.schedule, self.mix = Schedule.parsed(schedule), Mix.parsed(mix)
        self.size, self.frames = size, max(1.0, duration_s * fps)
        self.place = zlib.crc32(f"{seed}/{camera}".encode())

    def __iter__(self) -> Iterator[Shot]:
        index = 0
        while True:
            yield self.shot(index)
            index += 1

    def shot(self, index: int) -> Shot:
        fraction = min(1.0, index / self.frames)
        condition = self.schedule.at(fraction)
        self.junction.mix = self.mix.at(fraction)
        image, objects = self.junction.frame(index)
        rng = np.random.default_rng([self.place, index])
        objects = move_boxes(objects, displacement(condition, 1.0, self.size, self.place), self.size)
        return Shot(index, apply(image, condition, 1.0, rng, self.place), objects, condition)
