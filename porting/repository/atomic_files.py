"""Writes files atomically and durably: each is written beside its final path, synced, and renamed into it."""

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
    """Replaces a file atomically, so that its content survives a power cut.

    Args:
        path: the file; missing parent folders are created.
        content: its new content.

    Raises:
        RepositoryFull: the disk or quota is full; the file keeps its old content.
        UserError: the system refused the write for another reason.
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
    """Returns the SHA-256 of a file's content as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Holds an exclusive lock on a folder, across processes; the system releases it when the holder dies.

    Raises:
        RepositoryFull: the disk is full. UserError: the folder cannot be written.
    """
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
    """Raises `CorruptBlob` when the file is missing or the SHA-256 of its content is not `digest`."""
    try:
        found = digest_of_file(path)
    except OSError as error:
        raise CorruptBlob(f"{path}: {error.strerror}; port the model again") from None
    if found != digest:
        raise CorruptBlob(f"{path}: damaged (its SHA-256 begins {found[:12]}); port the model again or roll back")


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns arrays as the bytes of an uncompressed `.npz` file. Equal arrays give equal bytes: the names are sorted,
    and NumPy writes no time stamp.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(arrays[name]) for name in sorted(arrays)})
    return buffer.getvalue()


def arrays_in(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays in the bytes of an `.npz` file, by name; `path` is used in the error message alone.

    Raises:
        CorruptBlob: the content is not a readable `.npz` file.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib, ValueError, EOFError: numpy promises none of them
        raise CorruptBlob(f"{path}: holds no arrays ({error}); port the model again") from None


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turns an exception about the content of a table into a `UserError` that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: is not as this version writes it ({error!r}); roll back") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a table as indented JSON, atomically and durably. Raises what `write_durably` raises."""
    write_durably(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON table. Raises `UserError` when the file cannot be read or holds something other than a table."""
    try:
        content = json.loads(path.read_bytes())
        assert isinstance(content, dict)
        return content
    except (OSError, ValueError, AssertionError) as error:
        raise UserError(
            f"{path}: cannot be read as a JSON table ({error}); roll back or port the model again"
        ) from None
