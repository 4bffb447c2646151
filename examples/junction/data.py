"""Pictures to train and to measure with: frames as they leave a JPEG encoder, and the crops that classifiers see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge.data.picture import crop
from edge.sources.camera.frames import encoded
from examples.conditions import apply
from examples.junction.drawing import PERSONS, VEHICLES
from examples.junction.scene import Junction, Seen
from porting.images import decode, resize

SIDE = 32
LABELS = {"vehicle": VEHICLES, "person": PERSONS}
Weather = Sequence[tuple[str, float, float]]  # condition, severity from, severity to

# The vehicle types were learnt at noon, the activities on days that ended early: what the default drift hits
# hard and what it hits mildly. The detector and the teacher have seen every weather.
NOON: Weather = (("day", 1, 1), ("day", 1, 1), ("dusk", 0.0, 0.25))
AFTERNOON: Weather = (("day", 1, 1), ("day", 1, 1), ("dusk", 0.0, 0.5))
ALL_WEATHER: Weather = (
    ("day", 1, 1), ("day", 1, 1), ("dusk", 0.3, 1.1), ("night", 0.4, 1.05), ("fog", 0.3, 1.05), ("rain", 0.3, 1.1),
    ("snow", 0.3, 1.1), ("noise", 0.2, 0.9), ("blur", 0.3, 1.0), ("dirty_lens", 0.4, 1.0), ("fog+dusk", 0.3, 1.0),
    ("night+noise", 0.3, 0.8), ("dusk+rain", 0.3, 1.0), ("fog+night", 0.3, 0.9), ("dusk+blur", 0.3, 1.0),
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """RGB uint8 [240, 320, 3] after JPEG, and everybody who shows at least a little."""

    image: np.ndarray
    seen: list[Seen]


def frames(seed: int, count: int, weather: Weather, per_camera: int = 40, step: int = 9) -> Iterator[Frame]:
    """`count` frames of many places: `per_camera` of each, `step` fifths of a second apart."""
    rng = np.random.default_rng([seed, 5])
    for number in range(count):
        place, index = divmod(number, per_camera)
        if index == 0:
            junction = Junction(place, seed)
        image, seen = junction.scene(index * step)
        condition, low, high = weather[int(rng.integers(len(weather)))]
        if condition != "day":
            image = apply(image, condition, rng.uniform(low, high), rng)
        yield Frame(decode(encoded(image)), seen)


def jittered(box: Sequence[float], rng: np.random.Generator, share: float = 0.09) -> tuple[float, float, float, float]:
    """A box as a detector might have put it: each side off by a few per cent of the object."""
    width, height = box[2] - box[0], box[3] - box[1]
    off = rng.normal(0, share / 2, 4) * (width, height, width, height)
    x1, y1, x2, y2 = np.asarray(box) + off
    return float(x1), float(y1), float(max(x1 + 4, x2)), float(max(y1 + 4, y2))


def square(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """What a classifier sees of a box: RGB uint8 [32, 32, 3], cut and resized as the daemon does it."""
    x1, y1, x2, y2 = box
    return resize(crop(image, (x1, y1, x2, y2)), SIDE, SIDE)


def true_crops(
    shots: Iterator[Frame], kind: str, rng: np.random.Generator, copies: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Crops uint8 [n, 32, 32, 3] and label numbers int64 [n] of one kind, cut around jittered truth."""
    images, labels = [], []
    for shot in shots:
        for one in shot.seen:
            if one.kind == kind and one.listed:
                for _ in range(copies):
                    images.append(square(shot.image, jittered(one.box, rng)))
                    labels.append(LABELS[kind].index(one.label))
    return np.stack(images), np.array(labels)
