"""Pruning: what can serve again stays, the rest goes, and a kill in between leaves nothing half."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from porting.errors import UserError
from porting.publish import derive
from porting.repository.garbage_collection import freed, needed_blobs, old, prune
from porting.repository.repository import Repository
from porting.variant import InputSpec, OutputSpec, Stage, Variant

ROOT = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path):
    """`base` serves; it has a graph, a head and a profile."""
    made = Repository(tmp_path / "models")
    graph, head_graph = made.add_blob(b"graph"), made.add_blob(b"head graph")
    head = made.add_arrays(head_of(0))
    stages = (
        Stage("onnx", graph, None, InputSpec("image", 8, 8), (1,), {graph: 5}),
        Stage("onnx", head_graph, head, None, (1,), {head_graph: 10, head: 100}),
    )
    output = OutputSpec("classification", ("a", "b"), "logits", "features")
    made.add_variant(Variant("m", "base", tuple(stage.digest for stage in stages), output), stages)
    made.add_profile("m", "base", "cpu", {"graphs": {}})
    made.serve("m", "base")
    return made


def head_of(number):
    return {"head.weight": np.full((2, 3), number, np.float32), "head.bias": np.zeros(2, np.float32)}


def head(repository, number, parent="base", serve=True):
    """A variant `head-<number>`, which serves unless told otherwise."""
    name = f"head-{number}"
    derive(repository, repository.variant("m", parent), name=name, head=head_of(number))
    repository.add_profile("m", name, "cpu", {"graphs": {}})
    if serve:
        repository.serve("m", name)


def pruned(repository, **more):
    """Everything counts as old."""
    return prune(repository, **{"keep": 1, "young_s": -1, **more})


def files_under(repository):
    return {str(path) for path in repository.root.rglob("*") if path.is_file() and path.name != ".lock"}


def test_what_served_last_its_ancestors_and_what_serves_stay(repository):
    for number in range(1, 6):
        head(repository, number)
    head(repository, 6, parent="head-5", serve=False)
    head(repository, 7, parent="head-2")
    done = pruned(repository, keep=2)
    assert sorted(done.variants) == ["m/head-1", "m/head-3", "m/head-4", "m/head-6"]
    assert len(done.blobs) == 4
    assert sorted(repository.variants("m")) == ["base", "head-2", "head-5", "head-7"]
    assert repository.verify() == []
    assert repository.serving("m") == "head-7"
    assert not repository.profiles("m", "head-1")
    assert pruned(repository, keep=2) == type(done)([], [], [], 0)


def test_a_dry_run_says_the_same_and_does_nothing(repository):
    for number in range(1, 4):
        head(repository, number)
    before = files_under(repository)
    said = pruned(repository, dry_run=True)
    assert files_under(repository) == before
    assert said == pruned(repository)
    assert said.variants == ["m/head-1", "m/head-2"]
    assert said.bytes > 0


def test_the_way_back_leads_past_what_is_gone(repository):
    for number in range(1, 4):
        head(repository, number)
    pruned(repository)
    assert repository.rollback("m") == "base"
    with pytest.raises(UserError, match="no variant 'head-1'"):
        repository.rollback("m", "head-1")


def test_what_is_young_stays_and_what_is_stored_again_is_young(repository):
    head(repository, 1, serve=False)
    blob = repository.blob_path(repository.add_blob(b"nobody needs it"))
    assert prune(repository, keep=1).variants == prune(repository, keep=1).blobs == []
    os.utime(blob, (0, 0))
    repository.add_blob(b"nobody needs it")
    assert prune(repository, keep=1).blobs == []
    os.utime(blob, (0, 0))
    assert prune(repository, keep=1).blobs == [blob.name]


def test_leftovers_of_the_killed_go(repository):
    left = [repository.root / "m" / "variants" / ".a.json.1-2.tmp", repository.root / "blobs/sha256/ab/.ab.1-2.tmp"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    done = pruned(repository)
    assert sorted(done.leftovers) == sorted(map(str, left))
    assert done.blobs == []
    assert done.bytes == 8
    assert not any(path.exists() for path in left)


def test_a_model_that_serves_nothing_stays_whole(repository):
    (repository.root / "m" / "serving.json").unlink()
    head(repository, 1, serve=False)
    assert pruned(repository).variants == []


def test_where_a_table_cannot_be_read_nothing_goes(repository):
    for number in range(1, 4):
        head(repository, number)
    repository.variant_path("m", "head-2").write_text("{")
    before = files_under(repository)
    with pytest.raises(UserError, match=r"head-2\.json"):
        pruned(repository)
    assert files_under(repository) == before


def test_less_than_what_serves_cannot_be_kept(repository):
    with pytest.raises(UserError, match="at least 1"):
        pruned(repository, keep=0)


def test_a_name_is_not_given_twice(repository):
    for number in range(1, 4):
        assert repository.free_name("m", "head") == f"head-{number}"
        head(repository, number)
    repository.rollback("m", "base")
    pruned(repository)
    assert repository.variants("m") == ["base"]
    assert repository.free_name("m", "realign") == "realign-4"


def test_the_bytes_are_those_of_all_that_went(repository):
    """Variants and profiles of two models, blobs, and a leftover."""
    for model in ("n", "o"):
        variant = repository.variant("m", "base")
        stages = repository.stages(variant, "cpu")
        for name in ("base", "next", "last"):
            repository.add_variant(dataclasses.replace(variant, model=model, name=name), stages)
            repository.serve(model, name)
    repository.add_blob(b"needed by none")
    (repository.root / "o" / ".serving.json.1-2.tmp").write_bytes(b"half")
    before = {path: path.stat().st_size for path in repository.root.rglob("*") if path.is_file()}
    done = pruned(repository)
    assert done.variants == ["n/base", "n/next", "o/base", "o/next"]
    assert done.bytes == sum(size for path, size in before.items() if not path.exists()) > 14 + 4


def test_a_model_that_came_meanwhile_keeps_its_blobs(repository):
    """`prune` has not looked at it, so none of its variants is doomed."""
    assert needed_blobs(repository, {}) == set(repository.blobs("m", "base"))
    assert needed_blobs(repository, {"m": ["base"]}) == set()


def test_what_another_process_deleted_first_is_neither_old_nor_counted(tmp_path):
    path = tmp_path / "file"
    assert old(path, before=float("inf")) is False
    assert freed(path, dry_run=False) == 0
    path.write_bytes(b"four")
    os.utime(path, (100, 100))
    assert [old(path, before) for before in (99.0, 100.0, 101.0)] == [False, True, True]
    assert freed(path, dry_run=True) == 4
    assert freed(path, dry_run=False) == 4
    assert not path.exists()


def test_what_cannot_be_deleted_is_named(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UserError, match=r"folder: cannot be deleted \("):
        freed(folder, dry_run=False)


KILLED = """
import os, signal, sys
from pathlib import Path
from porting.repository.garbage_collection import prune
from porting.repository.repository import Repository

calls_left = int(sys.argv[2])
def dying(path, unlink=Path.unlink):
    global calls_left
    calls_left -= 1
    if calls_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    unlink(path)
Path.unlink = dying
prune(Repository(sys.argv[1]), keep=1, young_s=-1)
"""


@pytest.mark.parametrize("calls", [1, 2, 3, 5, 7])
def test_killed_at_any_deletion_it_is_whole_and_the_next_run_finishes(repository, calls):
    for number in range(1, 4):
        head(repository, number, parent="base" if number == 1 else f"head-{number - 1}")
    repository.rollback("m", "base")
    done = subprocess.run([sys.executable, "-c", KILLED, repository.root, str(calls)], cwd=ROOT, check=False)
    assert done.returncode == -9
    fresh = Repository(repository.root)
    assert fresh.verify() == []
    assert fresh.serving("m") == "base"
    for name in fresh.variants("m"):
        assert [*fresh.lineage(fresh.variant("m", name))], "nobody lost a parent"
    pruned(fresh)
    assert fresh.variants("m") == ["base"]
    assert len([*fresh.root.glob("blobs/sha256/??/*")]) == 3
    assert len([*fresh.root.glob("m/profiles/*")]) == 1
