"""A seeded junction camera: its own roads, vehicles and persons on continuous tracks, and the truth of every frame.

Any frame can be asked for in any order: where somebody is follows from the seed and the time alone. Each path is cut
into departures; departure k of a path has its own random generator, so nothing has to be simulated from the start.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sin, tau
from typing import Any

import cv2
import numpy as np

from examples.junction.drawing import PERSONS, VEHICLES, Look, draw_person, draw_vehicle, gait, random_look

VISIBLE_LISTED = 0.5  # a truth object shows at least this share of its box
SIDE_LISTED_PX = 8  # and is at least this wide and high inside the frame
ACTORS_REMEMBERED = 512


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


@dataclass(frozen=True)
class Actor:
    """One road user: who it is, when it sets out, and how it looks."""

    track: str
    kind: str
    label: str
    depart_s: float
    pace: float
    offset: float
    phase: float
    look: Look


@dataclass
class Seen:
    """Somebody in a frame, with the share of the box that nobody in front and no border hides (0..1)."""

    kind: str
    label: str
    track: str
    box: list[float]
    visible: float

    def truth(self) -> dict[str, Any]:
        return {"kind": self.kind, "label": self.label, "box": [round(v, 1) for v in self.box], "track": self.track}


class Junction:
    """`frame(i)` gives (RGB uint8 [height, width, 3], list of truth objects); iterating goes on for ever.

    `camera` names the place (another camera has other roads and other people), `seed` the world, `fps` the frame rate.
    `mix` gives relative weights of labels, e.g. {"bus": 4.0}; labels left out weigh 1. It may be replaced at any time:
    those who set out later follow the new mix.
    """

    def __init__(
        self,
        camera: int | str,
        seed: int,
        fps: float = 5.0,
        width: int = 320,
        height: int = 240,
        mix: Mapping[str, float] | None = None,
    ) -> None:
        self.camera, self.seed, self.fps, self.size = str(camera), seed, fps, (width, height)
        self.mix: Mapping[str, float] = dict(mix or {})
        self._key = [seed & 0xFFFFFFFF, zlib.crc32(self.camera.encode())]
        place = np.random.default_rng([*self._key, 1])
        self.paths, self._ground = _lay_out(place)
        self._actors: OrderedDict[tuple[int, int], Actor | None] = OrderedDict()

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[dict[str, Any]]]]:
        index = 0
        while True:
            yield self.frame(index)
            index += 1

    def frame(self, index: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Frame `index` (taken index / fps seconds after the start) and the objects that can be seen in it."""
        image, seen = self.scene(index)
        listed = [s.truth() for s in seen if s.visible >= VISIBLE_LISTED and _side(s.box) >= SIDE_LISTED_PX]
        return image, listed

    def scene(self, index: int) -> tuple[np.ndarray, list[Seen]]:
        """As `frame`, with everybody who shows at least a little: what training must ignore is in it too."""
        now = index / self.fps
        image = self._ground.copy()
        placed = [p for i, path in enumerate(self.paths) for p in self._placed(i, path, now)]
        placed.sort(key=lambda p: (p[1][1], p[0].track))  # those farther away are drawn first
        seen = [self._draw(image, actor, spot, path, now) for actor, spot, path in placed]
        width, height = self.size
        if self.size != (320, 240):
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA if width < 320 else cv2.INTER_LINEAR)
        _clip(seen, width / 320, height / 240, width, height)
        return image, [s for s in seen if s.visible > 0.02]

    def _placed(self, number: int, path: Path, now: float) -> Iterator[tuple[Actor, tuple[float, float], Path]]:
        length = float(np.hypot(path.end[0] - path.start[0], path.end[1] - path.start[1]))
        stay_s = path.headway_s * 0.85 if path.stands else length / path.speed * 1.5 + path.headway_s
        for k in range(int((now - stay_s) // path.headway_s), int(now // path.headway_s) + 1):
            actor = self._actor(number, path, k)
            if actor is None or now < actor.depart_s:
                continue
            gone_s = now - actor.depart_s
            if path.stands:
                done = actor.offset if gone_s < stay_s else 2.0
            else:
                # All traffic of a path slows and speeds up together, as before a light, so nobody runs into anybody.
                beat = tau / 17.0
                pulse = (sin(now * beat + number) - sin(actor.depart_s * beat + number)) / beat
                done = (gone_s + 0.6 * pulse) * path.speed * actor.pace / length
            if done <= 1.0:
                x = path.start[0] + done * (path.end[0] - path.start[0])
                y = path.start[1] + done * (path.end[1] - path.start[1])
                yield actor, (x, y), path

    def _actor(self, number: int, path: Path, k: int) -> Actor | None:
        known = self._actors.get((number, k), False)
        if known is not False:
            return known  # type: ignore[return-value]
        rng = np.random.default_rng([*self._key, 2, number, k & 0xFFFFFFFF])
        actor = self._born(rng, number, path, k) if rng.random() < path.chance else None
        self._actors[number, k] = actor
        if len(self._actors) > ACTORS_REMEMBERED:
            self._actors.popitem(last=False)
        return actor

    def _born(self, rng: np.random.Generator, number: int, path: Path, k: int) -> Actor:
        if path.kind == "vehicle":
            labels: tuple[str, ...] = VEHICLES
        else:
            labels = ("standing", "waving") if path.stands else ("running", "walking")
        weights = np.array([max(0.0, float(self.mix.get(label, 1.0))) for label in labels]) + 1e-9
        label = str(rng.choice(labels, p=weights / weights.sum()))
        depart_s = path.headway_s * (k + rng.uniform(0.0, 0.12))
        pace = 1.7 if label == "running" else 1.0
        look = random_look(rng)
        phase, offset = float(rng.uniform(0, tau)), float(rng.uniform(0, 1))
        return Actor(f"{self.camera}-{number}-{k}", path.kind, label, depart_s, pace, offset, phase, look)

    def _draw(self, image: np.ndarray, actor: Actor, spot: tuple[float, float], path: Path, now: float) -> Seen:
        dx, dy = path.end[0] - path.start[0], path.end[1] - path.start[1]
        direction = 1 if dx >= 0 else -1
        if actor.kind == "vehicle":
            box = draw_vehicle(image, actor.label, spot, path.scale, direction, dy / dx, actor.look)
        else:
            if path.stands:
                direction = 1 if actor.offset < 0.5 else -1
            phase = gait(actor.label, now, actor.phase)
            box = draw_person(image, actor.label, spot, 50 * path.scale, direction, phase, actor.look)
        return Seen(actor.kind, actor.label, actor.track, box, 1.0)


def _side(box: list[float]) -> float:
    return min(box[2] - box[0], box[3] - box[1])


def _clip(seen: list[Seen], sx: float, sy: float, width: int, height: int) -> None:
    """Cuts boxes at the border and works out how much of each shows; later ones in the list stand in front."""
    mask = np.zeros((height // 4 + 1, width // 4 + 1), np.uint8)
    for one in reversed(seen):
        x1, y1, x2, y2 = one.box[0] * sx, one.box[1] * sy, one.box[2] * sx, one.box[3] * sy
        one.box = [min(max(x1, 0), width), min(max(y1, 0), height), min(max(x2, 0), width), min(max(y2, 0), height)]
        inside = (one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) / ((x2 - x1) * (y2 - y1))
        a, b, c, d = (round(v / 4) for v in one.box)
        piece = mask[b:d, a:c]
        hidden = float(piece.mean()) if piece.size else 1.0
        one.visible = inside * (1 - hidden)
        piece[:] = 1


def _lay_out(rng: np.random.Generator) -> tuple[list[Path], np.ndarray]:
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
    for x, y, scale in ((rng.uniform(20, 60), -32, 0.84), (rng.uniform(240, 300), 66, 1.02), (rng.uniform(110, 200), 70, 1.0)):
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
