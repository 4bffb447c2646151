"""Reads labelled pictures from a zip or a folder with one folder per class; file names give the order of time.

A file named `stream-<k>__<frame>…` belongs to stream k; without such names all pictures are one stream. Pictures that
follow each other in a stream are alike, so each carries the number of its block of neighbours: statistics draw blocks,
not pictures.
"""

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from porting.errors import BadImage, UserError
from porting.images import Image, decode, resize

BLOCK = 10  # neighbours that count as one block
SUFFIXES = (".jpg", ".jpeg", ".png")
_STREAM = re.compile(r"stream-(\d+)__(\d+)?")
Read = Callable[[str], bytes]


class Samples(NamedTuple):
    """Holds pictures with their true labels; row i of each field belongs together. A stream's
    rows are in the order of time.
    """

    images: Sequence[Image]  # RGB uint8 [h, w, 3]; sizes may differ
    labels: NDArray[np.int64]  # [n] index into the model's labels
    block: NDArray[np.int64]  # [n] which rows are neighbours in time
    stream: NDArray[np.int64] | None = None  # [n]; None: one stream
    names: tuple[str, ...] | None = None  # what the labels index; None: the model's labels

    def take(self, rows: NDArray[np.int64]) -> "Samples":
        """Returns the given rows, in the order given."""
        stream = None if self.stream is None else self.stream[rows]
        return Samples([self.images[i] for i in rows], self.labels[rows], self.block[rows], stream, self.names)

    def relabelled(self, names: tuple[str, ...]) -> "Samples":
        """Returns the samples with labels that index `names`. Raises `UserError` when a class of
        the samples is not among them.
        """
        if self.names is None or self.names == names:
            return self
        if unknown := sorted(set(self.names) - set(names)):
            raise UserError(f"samples: class {unknown[0]!r} is none of the labels {', '.join(names)}")
        index = np.array([names.index(name) for name in self.names], np.int64)
        return self._replace(labels=index[self.labels], names=names)

    def thinned(self, limit: int) -> "Samples":
        """Returns at most `limit` rows, evenly spread over all."""
        count = len(self.labels)
        return self if count <= limit else self.take(np.linspace(0, count - 1, limit).round().astype(np.int64))


def read_samples(
    path: Path, labels: Sequence[str] | None = None, *, limit: int = 2000, size: tuple[int, int] | None = None
) -> tuple[Samples, tuple[str, ...]]:
    """Reads a zip or folder of class folders; returns the samples and the labels.

    Args:
        path: the zip or the folder.
        labels: the model's labels in its order; None: the folders' names in alphabetical order.
        limit: the largest number of pictures read, evenly spread over each class.
        size: width, height in pixels that every picture is resized to; None: as they are.

    Raises:
        UserError: no such file, no class folders, a folder that is not a label, or a picture that cannot be decoded.
    """
    with _opened(path) as (names, read):
        rows = sorted((_key(name), name) for name in names if is_picture(name))
        if not rows:
            raise UserError(f"{path}: no JPEG or PNG files in class folders")
        classes = sorted({class_of(name) for _, name in rows})
        labels = tuple(labels or classes)
        if unknown := sorted(set(classes) - set(labels)):
            raise UserError(f"{path}: folder {unknown[0]!r} is none of the labels {', '.join(labels)}")
        rows = _spread(rows, limit)
        images = [_image(path, name, read, size) for _, name in rows]
    index = np.array([labels.index(class_of(name)) for _, name in rows], np.int64)
    stream = np.array([key[0] for key, _ in rows], np.int64)
    return Samples(images, index, blocks_of(stream), stream, labels), labels


def blocks_of(stream: NDArray[Any], length: int = BLOCK) -> NDArray[np.int64]:
    """Numbers the blocks of `length` consecutive rows of one stream; returns int64 [n]. The rows
    of a stream must be adjacent.
    """
    blocks = np.zeros(len(stream), np.int64)
    number = within = 0
    for row in range(1, len(stream)):
        within += 1
        if stream[row] != stream[row - 1] or within == length:
            number, within = number + 1, 0
        blocks[row] = number
    return blocks


def _key(name: str) -> tuple[int, int, str, str]:
    """Returns stream, frame, file name and class as sort key: pictures of all classes mix in the order of time."""
    file = PurePosixPath(name)
    found = _STREAM.match(file.name)
    stream, frame = (int(found[1]), int(found[2] or 0)) if found else (0, 0)
    return stream, frame, file.name, file.parent.name


def _spread(rows: list[Any], limit: int) -> list[Any]:
    """Thins each class evenly, so that a rare one is not lost."""
    if len(rows) <= limit:
        return rows
    by_class: dict[str, list[Any]] = {}
    for row in rows:
        by_class.setdefault(row[0][3], []).append(row)
    share = max(1, limit // len(by_class))
    kept = [r for group in by_class.values() for r in _evenly(group, share)]
    return sorted(kept)


def _evenly(rows: list[Any], count: int) -> list[Any]:
    if len(rows) <= count:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def _image(path: Path, name: str, read: Read, size: tuple[int, int] | None) -> Image:
    try:
        image = decode(read(name))
    except BadImage as error:
        raise UserError(f"{path}: {name}: {error}") from None
    return image if size is None else resize(image, *size)


def is_picture(name: str) -> bool:
    """Returns whether a path names a JPEG or PNG file inside a folder; macOS's resource forks do not count."""
    file = PurePosixPath(name)
    return file.suffix.lower() in SUFFIXES and len(file.parts) >= 2 and "__MACOSX" not in file.parts


def class_of(name: str) -> str:
    """Returns the name of the folder that a file is in, which is its class."""
    return PurePosixPath(name).parent.name


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], Read]]:
    if path.is_dir():
        files = {str(f.relative_to(path)): f for f in path.rglob("*") if f.is_file()}
        yield list(files), lambda name: files[name].read_bytes()
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: neither a folder nor a zip file ({error})") from None
    with archive:

        def read(name: str) -> bytes:
            try:
                return archive.read(name)
            except (OSError, zipfile.BadZipFile, RuntimeError) as error:
                raise UserError(f"{path}: {name}: {error}") from None

        yield archive.namelist(), read
