"""Files that are there whole or not at all: written beside their place, synced, renamed into it."""

import errno
import fcntl
import hashlib
import io
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from porting.errors import CorruptBlob, RepositoryFull, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_durably(path: Path, content: bytes) -> None:
    """Put a file in place, atomically and so that a power cut keeps it.

    Raises:
        RepositoryFull: the disk took no more; the place holds what it held before. UserError: the system refused.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_synced(beside, content)
            os.replace(beside, path)
        except OSError:
            with suppress(OSError):
                beside.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise RepositoryFull(f"{path}: the disk is full ({error.strerror}); nothing was changed") from None
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _write_synced(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One writer at a time in a folder, over processes; gone with the process that held it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        kind = RepositoryFull if error.errno in _FULL else UserError
        raise kind(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_blob(path: Path, digest: str) -> None:
    """Raises `CorruptBlob` when the file is missing or its content is not what its name says."""
    try:
        found = digest_of_file(path)
    except OSError as error:
        raise CorruptBlob(f"{path}: {error.strerror}; port the model again") from None
    if found != digest:
        raise CorruptBlob(f"{path}: damaged (its SHA-256 begins {found[:12]}); port the model again or roll back")


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as an uncompressed `.npz` file. Equal arrays give equal bytes: numpy stamps no time into it."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(arrays[name]) for name in sorted(arrays)})
    return buffer.getvalue()


def arrays_in(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """The way back. Raises `CorruptBlob` naming the file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib, ValueError, EOFError: numpy promises none of them
        raise CorruptBlob(f"{path}: holds no arrays ({error}); port the model again") from None


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """What cannot be read out of a table: `UserError` naming the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: is not as this version writes it ({error!r}); roll back") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A table as indented JSON, durably."""
    write_durably(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A table. Raises `UserError` naming the file."""
    try:
        content = json.loads(path.read_bytes())
        assert isinstance(content, dict)
        return content
    except (OSError, ValueError, AssertionError) as error:
        raise UserError(
            f"{path}: cannot be read as a JSON table ({error}); roll back or port the model again"
        ) from None
