"""What `verify` says of a repository that is damaged."""

from pathlib import Path

import pytest

from porting.errors import CorruptBlob, UserError
from porting.repository.repository import Repository
from tests.porting.repository.test_repository import flip_a_bit, stored


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "models")


def test_verify_says_what_is_wrong_with_which_file(repository):
    """A blob that is damaged, one that is missing, a table, and a pointer to a variant that is not there."""
    _, stages = stored(repository)
    stored(repository, "next", content=b"next graph")
    repository.serve("m", "fp32")
    graph = repository.blob_path(stages[0].graph)
    half = graph.with_name(f".{graph.name}.1-2.tmp")
    half.write_bytes(b"half")  # a write that goes on, or did not end: no blob yet
    assert repository.verify() == []
    flip_a_bit(graph)
    assert said(repository) == {graph: "content does not fit its name (SHA-256)"}
    graph.unlink()
    assert said(repository) == {graph: "missing; m/fp32 needs it"}
    stored(repository)
    pointer = repository.root / "m" / "serving.json"
    pointer.write_text('{"variant": "gone", "number": 1}')
    assert said(repository) == {pointer: "names variant 'gone', which is not there"}
    pointer.write_text("{half")
    assert "cannot be read as a JSON table" in said(repository)[pointer]
    pointer.unlink()
    assert repository.verify() == []
    table = repository.variant_path("m", "next")
    table.write_text('{"stages": 3}')
    assert "is not as this version writes it" in said(repository)[table]
    entry = repository.root / "m" / "history" / "0001.json"
    entry.write_text("{half")
    assert "0001.json: cannot be read as a JSON table" in said(repository)[entry]


def test_a_table_of_another_version_is_named_whatever_is_asked_of_it(repository):
    variant, _ = stored(repository)
    repository.variant_path("m", "fp32").write_text('{"stages": 3}')
    asked = (
        lambda: repository.variant("m", "fp32"),
        lambda: repository.stages(variant, "cpu"),
        lambda: repository.blobs("m", "fp32"),
    )
    for ask in asked:
        with pytest.raises(UserError, match=r"fp32\.json: is not as this version writes it"):
            ask()


def test_a_blob_of_no_arrays_is_named(repository):
    digest = repository.add_blob(b"no arrays")
    with pytest.raises(CorruptBlob, match=f"{digest}: holds no arrays"):
        repository.arrays(digest)


def test_a_blob_is_checked_once_by_each_process(repository):
    """Damage that comes later is for `verify` to find: reading a model must not cost its hash every time."""
    digest = repository.add_blob(b"abc")
    fresh = Repository(repository.root)
    fresh.blob(digest)
    flip_a_bit(fresh.blob_path(digest))
    assert fresh.blob_bytes(digest) != b"abc"
    with pytest.raises(CorruptBlob):
        Repository(repository.root).blob(digest)


def said(repository):
    return {Path(problem.path): problem.what for problem in repository.verify()}
