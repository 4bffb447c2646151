"""Anybody's labelled pictures: class folders in a directory or a zip; the names in order are the classes."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from porting.errors import UserError
from porting.images import BadImage, decode

SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(slots=True)
class ImageFolder:
    """`entries[i]` is (name, class index); `pixels(i)` decodes one. A zip is read member by member, never unpacked."""

    path: Path
    classes: tuple[str, ...] = ()
    entries: list[tuple[str, int]] = field(default_factory=list)
    archive: zipfile.ZipFile | None = None

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """RGB [h, w, 3]. Raises `UserError` naming a picture that cannot be read."""
        name = self.entries[index][0]
        try:
            payload = self.archive.read(name) if self.archive else (self.path / name).read_bytes()
            return decode(payload)
        except (BadImage, OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path}: {name}: {error}") from error

    def labels(self) -> NDArray[np.int64]:
        return np.array([label for _, label in self.entries], dtype=np.int64)


def open_images(path: Path) -> ImageFolder:
    """Raises `UserError` where there are no class folders with pictures."""
    archive = None
    if path.is_dir():
        names = [str(PurePosixPath(*found.relative_to(path).parts)) for found in path.rglob("*") if found.is_file()]
    elif path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UserError(f"{path}: {error}; give a folder or a zip of class folders") from error
        names = archive.namelist()
    else:
        raise UserError(f"{path}: no such folder or zip; it should hold one folder of pictures per class")
    return sorted_out(path, names, archive)


def sorted_out(path: Path, names: Sequence[str], archive: zipfile.ZipFile | None) -> ImageFolder:
    pictures = sorted(name for name in names if name.lower().endswith(SUFFIXES) and len(PurePosixPath(name).parts) > 1)
    classes = tuple(sorted({PurePosixPath(name).parts[-2] for name in pictures}))
    if len(classes) < 2:
        raise UserError(f"{path}: {len(classes)} class folders with JPEG or PNG files; at least two are needed")
    index = {label: number for number, label in enumerate(classes)}
    return ImageFolder(path, classes, [(name, index[PurePosixPath(name).parts[-2]]) for name in pictures], archive)
