"""Files that are there whole or not at all: what is refused names the file, and nothing is left beside it."""

import io
from pathlib import Path

import numpy as np
import pytest

from porting.errors import CorruptBlob, UserError
from porting.repository.atomic_files import (
    arrays_in,
    check_blob,
    digest_of_file,
    lock,
    npz_bytes,
    read_json,
    write_durably,
    write_json,
)


def test_what_the_system_refuses_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    """The name fits, that of the file beside it does not; so there is nothing to clear up either."""
    path = tmp_path / ("x" * 250)
    with pytest.raises(UserError, match=r"xxx: cannot be written \(File name too long\)$"):
        write_durably(path, b"content")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"file/below: cannot be written"):
        write_durably(tmp_path / "file" / "below", b"content")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_table_is_written_for_people(tmp_path: Path) -> None:
    """One key a line, and letters as they are."""
    path = tmp_path / "new folder" / "table.json"
    write_json(path, {"name": "über", "batches": [1, 2]})
    assert path.read_text(encoding="utf-8") == '{\n "name": "über",\n "batches": [\n  1,\n  2\n ]\n}\n'
    assert read_json(path) == {"name": "über", "batches": [1, 2]}


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_what_is_no_table_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"table\.json: cannot be read as a JSON table"):
        read_json(path)


def test_a_blob_that_is_missing_or_damaged_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    with pytest.raises(CorruptBlob, match=r"blob: No such file or directory; port the model again$"):
        check_blob(path, "0")
    path.write_bytes(b"abc")
    assert digest_of_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    check_blob(path, digest_of_file(path))
    with pytest.raises(CorruptBlob, match="blob: damaged"):
        check_blob(path, "0")


def test_arrays_that_would_run_code_are_neither_written_nor_read() -> None:
    """An array of objects is a pickle, and reading one runs what its writer wants."""
    objects = {"head.weight": np.array([{}], dtype=object)}
    with pytest.raises(ValueError, match="pickle"):
        npz_bytes(objects)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **objects)
    with pytest.raises(CorruptBlob, match="head: holds no arrays"):
        arrays_in(buffer.getvalue(), Path("head"))


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    """A second descriptor of the same process would wait for ever if the first were still held."""
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "model"):
        raise ZeroDivisionError
    with lock(tmp_path / "model"):
        assert (tmp_path / "model" / ".lock").exists()


def test_a_folder_that_cannot_be_locked_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="file: cannot be written"), lock(tmp_path / "file"):
        pass
