"""A seeded junction camera: its own roads, vehicles and persons on continuous tracks, and the truth of every frame.

Any frame can be asked for in any order: where somebody is follows from the seed and the time alone. Each path is cut
into departures; departure k of a path has its own random generator, so nothing has to be simulated from the start.
"""

from __future__ import annotations

import itertools
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from math import sin, tau
from typing import Any

import cv2
import numpy as np

from examples.conditions import Schedule
from examples.junction.change import Mix, knock, moved
from examples.junction.drawing import VEHICLES, Look, draw_vehicle, random_look
from examples.junction.layout import Path, lay_out
from examples.junction.people import draw_person, gait

VISIBLE_LISTED = 0.5  # a truth object shows at least this share of its box
SIDE_LISTED_PX = 8  # and is at least this wide and high inside the frame
ACTORS_REMEMBERED = 512


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

    @property
    def listed(self) -> bool:
        """Whether the truth names it: enough of it shows, and it is not a mere sliver."""
        return self.visible >= VISIBLE_LISTED and _side(self.box) >= SIDE_LISTED_PX

    def truth(self) -> dict[str, Any]:
        return {"kind": self.kind, "label": self.label, "box": [round(v, 1) for v in self.box], "track": self.track}


class Junction:
    """`frame(i)` gives (RGB uint8 [height, width, 3], list of truth objects, condition); iterating goes on for ever.

    Args:
        camera: names the place: another camera has other roads and other people.
        seed: names the world; the same seed draws the same pictures.
        fps: frame i is taken i / fps seconds after the start.
        schedule: the conditions, as `examples.conditions.Schedule` reads them ("day@0,fog+dusk*0.8@30").
        mix: relative weights of labels from a second on ("even@0,bus:5/van:3@40"); labels left out weigh 1, and those
            who set out later follow the new mix.
        moved_s: from this second on somebody has knocked against the camera: the picture is shifted and turned.
    """

    def __init__(
        self,
        camera: int | str = 0,
        seed: int = 7,
        fps: float = 5.0,
        width: int = 320,
        height: int = 240,
        schedule: str = "day",
        mix: str = "even",
        moved_s: float | None = None,
    ) -> None:
        self.camera, self.seed, self.fps, self.size = str(camera), seed, fps, (width, height)
        self.schedule, self.mix, self.moved_s = Schedule.parse(schedule), Mix.parse(mix), moved_s
        self._key = [seed & 0xFFFFFFFF, zlib.crc32(self.camera.encode())]
        self.paths, self._ground = lay_out(np.random.default_rng([*self._key, 1]))
        self._knock = knock(np.random.default_rng([*self._key, 3]))
        self._actors: OrderedDict[tuple[int, int], Actor | None] = OrderedDict()

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[dict[str, Any]], str]]:
        for index in itertools.count():
            yield self.frame(index)

    def frame(self, index: int) -> tuple[np.ndarray, list[dict[str, Any]], str]:
        """Frame `index`: the picture, the objects that can be seen in it, and the condition it was taken in."""
        image, seen = self.scene(index)
        now = index / self.fps
        rng = np.random.default_rng([*self._key, 4, index & 0xFFFFFFFF])
        image = self.schedule.apply(image, now, rng)
        return image, [one.truth() for one in seen if one.listed], self.schedule.at(now)

    def scene(self, index: int) -> tuple[np.ndarray, list[Seen]]:
        """In plain daylight, with everybody who shows at least a little: training must know whom to ignore."""
        now = index / self.fps
        image = self._ground.copy()
        placed = [p for i, path in enumerate(self.paths) for p in self._placed(i, path, now)]
        placed.sort(key=lambda p: (p[1][1], p[0].track))  # those farther away are drawn first
        seen = [self._draw(image, actor, spot, path, now) for actor, spot, path in placed]
        if self.moved_s is not None and now >= self.moved_s:
            image = cv2.warpAffine(image, self._knock, (320, 240), borderMode=cv2.BORDER_REFLECT_101)
            for one in seen:
                one.box = moved(one.box, self._knock)
        width, height = self.size
        if self.size != (320, 240):
            shrinks = width <= 320 and height <= 240
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        _clip(seen, width / 320, height / 240, width, height)
        return image, [one for one in seen if one.visible > 0.02]

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
        depart_s = path.headway_s * (k + rng.uniform(0.0, 0.12))
        weights = self.mix.weights(labels, depart_s)
        label = str(rng.choice(labels, p=weights / weights.sum()))
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
