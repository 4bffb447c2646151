"""Labelled crops of a site, taken before the cameras went live: what `leeway port` judges and calibrates with."""

from __future__ import annotations

import argparse
import zipfile
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from edge.sources.camera.frames import encoded
from examples.junction.data import jittered, square
from examples.junction.scene import Junction
from porting.images import decode

MODELS = {"vehicle": "vehicles", "person": "persons"}
EPOCH = 1980  # a zip remembers times; one fixed time makes equal samples equal files


def write_samples(
    folder: Path, seed: int = 7, cameras: int = 4, seconds: float = 60.0, fps: float = 2.0
) -> dict[str, Path]:
    """Writes `vehicles.zip` and `persons.zip`, a folder per label, and returns their paths by model.

    The frames are those of the `seconds` before frame 0, by day: the cameras of a run with the same seed never show
    them again, but the place is the same. Crops are PNG of 32x32, cut around boxes a little off, as a detector's are;
    named `stream-<camera>__<frame>__<number>.png`, so that sorting by name sorts each stream by time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    crops: dict[str, dict[str, bytes]] = defaultdict(dict)
    count = round(seconds * fps)
    for camera in range(cameras):
        junction = Junction(camera, seed, fps)
        rng = np.random.default_rng([seed & 0xFFFFFFFF, camera, 8])
        for number in range(count):
            image, objects, _ = junction.frame(number - count)
            image = decode(encoded(image))
            for n, one in enumerate(objects):
                name = f"{one['label']}/stream-{camera}__{number:05d}__{n}.png"
                crops[MODELS[one["kind"]]][name] = _png(square(image, jittered(one["box"], rng)))
    return {model: _zipped(folder / f"{model}.zip", entries) for model, entries in crops.items()}


def _png(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))[1])


def _zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, (EPOCH, 1, 1, 0, 0, 0)), entries[name])
    return path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, required=True, help="folder for the zips")
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--cameras", type=int, default=4)
    given = arguments.parse_args()
    for path in write_samples(given.out, given.seed, given.cameras).values():
        print(path)


if __name__ == "__main__":
    main()
