"""Reads a camera's pictures from a folder, a zip, a video file or URL, or a generator named by its import path."""

import os
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol

import cv2
import numpy as np
import simplejpeg

from porting.errors import UserError
from porting.import_path import resolve

JPEG_QUALITY = 90
JPEG_SUFFIXES = {".jpg", ".jpeg"}
IMAGE_SUFFIXES = JPEG_SUFFIXES | {".png", ".bmp", ".webp", ".tif", ".tiff"}
OPEN_TIMEOUT_MS = 5_000
SHORT_NAMES = {"junction": "examples.junction.scene:Junction"}

Truth = Mapping[str, Any]  # "objects": [{"kind", "label", "box"?, "track"?}], "condition"?


class End(Exception):
    """Signals that there are no more pictures."""


@dataclass(frozen=True, slots=True)
class CameraPicture:
    """Holds one encoded picture with its ground truth, where that is known."""

    jpeg: bytes
    truth: Truth | None = None


class Pictures(Protocol):
    """Provides pictures by tick. If `live`, they come at their own pace, and `at` waits for the
    next one whatever the index.
    """

    live: bool

    def at(self, index: int) -> CameraPicture | None:
        """Returns the picture of tick `index` (0, 1, …; never backwards), or None when it is unreadable or none is
        there right now. Raises `End` after the last one.
        """


class Files:
    """Provides image files in the order of their names. JPEG files are passed on unchanged; a
    folder per class is the truth.
    """

    live = False

    def __init__(self, names: Sequence[str], read: Callable[[str], bytes], loop: bool, first: int = 0) -> None:
        self.names, self.read, self.loop, self.first = names, read, loop, first

    def at(self, index: int) -> CameraPicture | None:
        """Returns the picture of a tick as JPEG; None when it cannot be read. Raises `End` after
        the last one unless `loop`.
        """
        if index >= len(self.names) and not self.loop:
            raise End
        name = self.names[(self.first + index) % len(self.names)]
        try:
            content = self.read(name)
        except (OSError, zipfile.BadZipFile):
            return None
        jpeg = content if PurePath(name).suffix.lower() in JPEG_SUFFIXES else _reencoded(content)
        return CameraPicture(jpeg, _label_of(name)) if jpeg else None


class Video:
    """Reads a video file through OpenCV (ticks that are skipped skip its frames), or a URL
    (live: reopened whenever it breaks off).
    """

    def __init__(self, source: str, loop: bool) -> None:
        self.source, self.loop, self.live = source, loop, "://" in source
        self.fps = 0.0  # as the source states it; 0: it does not
        self._capture = self._opened()
        if self._capture is None:
            raise UserError(f"cannot open {source} as a video; is the path or URL right, and is it a video?")
        self._tick = 0

    def at(self, index: int) -> CameraPicture | None:
        """Returns the picture of a tick; None while a live source is away. Raises `End` after
        the last one unless `loop`.
        """
        while not self.live and self._tick < index and self._capture is not None and self._capture.grab():
            self._tick += 1
        self._tick += 1
        image = self._next()
        return None if image is None else CameraPicture(encoded(np.ascontiguousarray(image[:, :, ::-1])))

    def pass_over(self) -> bool:
        """Takes the next picture of a live source and discards it; returns False when there is none right now."""
        return self._capture is not None and self._capture.grab()

    def _next(self) -> np.ndarray | None:
        """Returns a BGR picture; after the end the first one again (loop) or, if live, None
        until the source is back.
        """
        for _ in range(2):
            good, image = self._capture.read() if self._capture is not None else (False, None)
            if good:
                return image
            if not (self.live or self.loop):
                raise End
            self._capture = self._opened()
        if not self.live:  # reopened and still nothing to read
            raise End
        return None

    def _opened(self) -> cv2.VideoCapture | None:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silence: what is wrong we say ourselves, in one line
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        capture = cv2.VideoCapture(self.source, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            return None
        self.fps = max(0.0, float(capture.get(cv2.CAP_PROP_FPS)))
        return capture


class GeneratedFrames:
    """Wraps a generator: `frame(index)`, or iteration, gives (RGB uint8 [h, w, 3], objects or
    truth table[, condition]).
    """

    live = False

    def __init__(self, scene: Any) -> None:
        self._at = scene.frame if hasattr(scene, "frame") else _in_turn(iter(scene))

    def at(self, index: int) -> CameraPicture | None:
        """Returns the generator's picture as JPEG with its truth. Raises `End` when an iterator is exhausted."""
        image, seen, *rest = self._at(index)
        truth = dict(seen) if isinstance(seen, Mapping) else {"objects": list(seen)}
        return CameraPicture(encoded(image), truth | ({"condition": rest[0]} if rest else {}))


def opened(
    source: str,
    *,
    loop: bool = True,
    camera: int = 0,
    cameras: int = 1,
    fps: float = 5.0,
    options: Mapping[str, Any] = {},
) -> Pictures:
    """Returns the pictures of camera number `camera` of `cameras`.

    Args:
        source: folder, zip, video file, URL, `junction`, or a generator `module:Class`.
        loop: begin again after the last picture.
        camera: number of this camera, from 0; several cameras start at different files.
        cameras: how many cameras share the source.
        fps: passed to a generator.
        options: more arguments of a generator's constructor (seed, …); other sources ignore them.

    Raises:
        UserError: `source` cannot be used.
    """
    path = Path(source).expanduser()
    if source in SHORT_NAMES or (":" in source and "://" not in source and not path.exists()):
        return GeneratedFrames(_scene(SHORT_NAMES.get(source, source), {"camera": camera, "fps": fps, **options}))
    if "://" in source:
        return Video(source, loop)
    if not path.exists():
        raise UserError(f"{source}: no such file or folder (nor a URL, `junction` or a generator `module:Class`)")
    if path.is_dir():
        names = _in_order(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
        return _files(source, names, lambda name: (path / name).read_bytes(), loop, camera, cameras)
    if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
        return _zipped(path, loop, camera, cameras)
    return Video(str(path), loop)


def encoded(image: np.ndarray) -> bytes:
    """Returns an RGB uint8 [h, w, 3] picture as JPEG."""
    return bytes(simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"))


def _zipped(path: Path, loop: bool, camera: int, cameras: int) -> Files:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a zip file that can be read: {error}") from error
    lock = threading.Lock()

    def read(name: str) -> bytes:
        with lock:
            return archive.read(name)

    return _files(str(path), _in_order(archive.namelist()), read, loop, camera, cameras)


def _files(
    source: str, names: Sequence[str], read: Callable[[str], bytes], loop: bool, camera: int, cameras: int
) -> Files:
    if not names:
        raise UserError(f"{source} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return Files(names, read, loop, first=camera * len(names) // cameras)


def _in_order(names: Iterator[str] | Sequence[str]) -> list[str]:
    """Sorts by file name first: in class folders the names give the time."""
    wanted = [name for name in names if PurePath(name).suffix.lower() in IMAGE_SUFFIXES and "__MACOSX" not in name]
    return sorted(wanted, key=lambda name: (PurePath(name).name, name))


def _label_of(name: str) -> Truth | None:
    folder = PurePath(name).parent.name
    return {"objects": [{"kind": "image", "label": folder}]} if folder else None


def _reencoded(content: bytes) -> bytes | None:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    return None if image is None else encoded(np.ascontiguousarray(image[:, :, ::-1]))


def _scene(name: str, options: Mapping[str, Any]) -> Any:
    make = resolve(name, "a generator of pictures")
    try:
        return make(**options)
    except TypeError as error:
        raise UserError(f"{name} does not take these options: {error}") from error


def _in_turn(pictures: Iterator[Any]) -> Callable[[int], Any]:
    def at(_: int) -> Any:
        try:
            return next(pictures)
        except StopIteration:
            raise End from None

    return at
