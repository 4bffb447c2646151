"""The repository: round trips, one pointer, a way back, damage named, and nothing lost by a kill or a full disk."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porting.errors import CorruptBlob, RepositoryFull, UserError
from porting.publish import derive
from porting.repository import atomic_files
from porting.repository.repository import Repository
from porting.variant import InputSpec, OutputSpec, Stage, Variant

ROOT = Path(__file__).parents[3]


def stored(repository, name="fp32", *, model="m", content=b"graph", parent=None, accuracy=None):
    """A variant of two stages, backbone and head, in the repository."""
    graph = repository.add_blob(content)
    head_graph = repository.add_blob(b"head graph")
    head = repository.add_arrays({"head.weight": np.ones((2, 3), np.float32), "head.bias": np.zeros(2, np.float32)})
    stages = (
        Stage("onnx", graph, None, InputSpec("image", 8, 8), (1, 2), {graph: len(content)}),
        Stage("onnx", head_graph, head, None, (1, 2), {head_graph: 10, head: 100}),
    )
    output = OutputSpec("classification", ("a", "b"), "logits", "features")
    variant = Variant(model, name, tuple(s.digest for s in stages), output, accuracy, parent, {"by": "test"})
    repository.add_variant(variant, stages)
    return variant, stages


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "models")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@settings(max_examples=25, deadline=None)
@given(
    content=st.binary(max_size=200),
    accuracy=st.none() | st.floats(0, 1),
    labels=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True),
    mean=st.lists(st.floats(-10, 10), min_size=1, max_size=3),
)
def test_blobs_and_variants_come_back_as_they_went_in(tmp_path_factory, content, accuracy, labels, mean):
    repository = Repository(tmp_path_factory.mktemp("r"))
    graph = repository.add_blob(content)
    stage = Stage("onnx", graph, None, InputSpec("image", 8, 9, mean=tuple(mean)), (1, 4), {graph: len(content)})
    output = OutputSpec("classification", tuple(labels), "logits")
    variant = Variant("m", "fp32", (stage.digest,), output, accuracy, None, {"k": [1, "ü"]})
    repository.add_variant(variant, (stage,))
    again = Repository(repository.root)
    assert again.blob_bytes(graph) == content
    assert again.variant("m", "fp32") == variant
    assert again.stages(variant, "cpu") == (stage,)


def test_equal_content_is_stored_once_and_sha256sum_agrees(repository):
    digest = repository.add_blob(b"abc")
    assert repository.add_blob(b"abc") == digest
    said = subprocess.run(["sha256sum", repository.blob(digest)], capture_output=True, text=True, check=True).stdout
    assert said.split()[0] == repository.blob(digest).name == digest


def test_a_blob_that_is_stored_again_is_young_again_and_not_written_again(repository):
    """Its age is what keeps `prune` from taking it away before a variant names it."""
    path = repository.blob(repository.add_blob(b"abc"))
    os.utime(path, (0, 0))
    written = path.stat().st_ino
    repository.add_blob(b"abc")
    assert path.stat().st_mtime > 0
    assert path.stat().st_ino == written


def test_a_file_is_stored_by_its_content(repository, tmp_path):
    file = tmp_path / "graph.onnx"
    file.write_bytes(b"abc")
    assert repository.add_blob(file) == repository.add_blob(b"abc")
    assert repository.blob_bytes(repository.add_blob(file)) == b"abc"


def test_arrays_come_back_and_equal_arrays_have_an_equal_digest(repository):
    arrays = {"head.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "head.bias": np.zeros(2, np.float32)}
    digest = repository.add_arrays(arrays)
    assert repository.add_arrays(dict(reversed(arrays.items()))) == digest
    back = repository.arrays(digest)
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


def test_a_variant_name_is_taken_once(repository):
    stored(repository)
    stored(repository)  # the same content again is no error
    with pytest.raises(UserError, match="exists with other content"):
        stored(repository, content=b"another")


@pytest.mark.parametrize("name", ["", "../m", "a/b", "blobs", ".hidden", "a b"])
def test_names_that_would_leave_the_folder_are_refused(repository, name):
    with pytest.raises(UserError, match="no name"):
        repository.save_reference(name, {})


def test_what_is_not_there_is_refused_with_what_is_there(repository):
    with pytest.raises(UserError, match="none yet"):
        repository.variant("m", "fp32")
    stored(repository)
    with pytest.raises(UserError, match="there is fp32"):
        repository.variant("m", "int8")
    with pytest.raises(UserError, match="no model 'x'; there is m"):
        repository.serve("x", "fp32")


def test_serving_history_and_rollback_walk_back_one_by_one(repository):
    for name in "abc":
        stored(repository, name, content=name.encode())
        repository.serve("m", name, {"reason": name})
    assert repository.serving("m") == "c"
    assert repository.rollback("m", why={"reason": "worse"}) == "b"
    assert repository.rollback("m") == "a"
    with pytest.raises(UserError, match="no way back"):
        repository.rollback("m")
    assert repository.rollback("m", to="c") == "c"
    assert [e["variant"] for e in repository.history("m")] == ["a", "b", "c", "b", "a", "c"]
    assert [e["number"] for e in repository.history("m")] == [1, 2, 3, 4, 5, 6]
    assert repository.pointer("m")["action"] == "rollback"
    assert repository.models() == ["m"]


def test_serving_the_same_again_does_not_hide_the_way_back(repository):
    for name in ("a", "b", "b"):
        stored(repository, name, content=name.encode())
        repository.serve("m", name)
    assert repository.rollback("m") == "a"


def test_a_flipped_bit_is_found_named_and_not_served(repository):
    stored(repository)
    stored(repository, "next", content=b"next graph")
    repository.serve("m", "fp32")
    assert repository.verify() == []
    damaged = repository.blob_path(repository.stages(repository.variant("m", "next"), "")[0].graph)
    flip_a_bit(damaged)
    (problem,) = repository.verify()
    assert problem.path == str(damaged)
    fresh = Repository(repository.root)
    for attempt in (lambda: fresh.serve("m", "next"), lambda: fresh.blob(damaged.name)):
        with pytest.raises(CorruptBlob, match=damaged.name) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert repository.serving("m") == "fp32"
    repository.add_blob(b"next graph")  # storing it again heals it
    assert repository.verify() == []


def test_verify_names_a_damaged_entry_of_the_history(repository):
    stored(repository)
    repository.serve("m", "fp32")
    entry = repository.root / "m" / "history" / "0001.json"
    assert repository.verify() == []
    entry.write_text("{")
    assert [problem.path for problem in repository.verify()] == [str(entry)]


def test_verify_names_missing_blobs_and_unreadable_tables(repository):
    _, stages = stored(repository)
    repository.serve("m", "fp32")
    repository.blob_path(stages[0].graph).unlink()
    (repository.root / "m" / "serving.json").write_text("{half")
    whats = [problem.what for problem in repository.verify()]
    assert any("m/fp32 needs it" in what for what in whats)
    assert any("cannot be read" in what for what in whats)


def test_durations_come_from_the_own_profile_else_from_the_parent_by_graph_and_place(repository):
    parent, stages = stored(repository)
    graphs = {stage.graph: {"batches": {"1": {"p99_ns": 10 * at + 1}}} for at, stage in enumerate(stages)}
    repository.add_profile("m", "fp32", "cpu", {"graphs": graphs})
    assert [s.durations_ns for s in repository.stages(parent, "cpu")] == [{1: 1}, {1: 11}]
    assert [s.durations_ns for s in repository.stages(parent, "tensorrt")] == [{}, {}]
    child = derive(repository, parent, name="realigned", graph=b"other graph")
    grandchild = derive(
        repository, child, name="head-1", head={"head.weight": np.zeros((2, 3)), "head.bias": np.ones(2)}
    )
    for variant in (child, grandchild):
        assert [s.durations_ns for s in repository.stages(variant, "cpu")] == [{1: 1}, {1: 11}]
    assert repository.profiles("m", "fp32").keys() == {"cpu"}


def test_a_new_head_is_a_new_stage_on_the_same_graph(repository):
    parent, _ = stored(repository)
    head = {"head.weight": np.full((2, 3), 2.0), "head.bias": np.zeros(2)}
    child = derive(repository, parent, name="head-1", head=head, made_by={"by": "test"}, accuracy=0.5)
    before, after = repository.stages(parent, ""), repository.stages(child, "")
    assert (child.parent, child.accuracy, child.output) == ("fp32", 0.5, parent.output)
    assert after[0] == before[0]
    assert after[1].graph == before[1].graph
    assert after[1].digest != before[1].digest
    assert repository.arrays(after[1].head)["head.weight"].dtype == np.float32
    repository.serve("m", "head-1")
    assert repository.rollback("m", to="fp32") == "fp32"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"head.weight": np.ones((2, 3))}, "needed"),
        ({"head.weight": np.ones((3, 3)), "head.bias": np.ones(2)}, "shape"),
        ({"head.weight": np.full((2, 3), np.nan), "head.bias": np.ones(2)}, "finite"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(repository, head, said):
    parent, _ = stored(repository)
    with pytest.raises(UserError, match=said):
        derive(repository, parent, name="bad", head=head)


def test_the_reference_comes_back_and_a_damaged_one_is_named(repository):
    assert repository.reference("m") is None
    arrays = {"labels": np.arange(5), "probs": np.eye(5, dtype=np.float32)}
    repository.save_reference("m", arrays)
    back = repository.reference("m")
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    path = repository.root / "m" / "reference.npz"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"reference\.npz: damaged"):
        repository.reference("m")
    np.savez(path, allow_pickle=True, labels=np.array([{}], dtype=object))  # reading it would run its writer's code
    with pytest.raises(UserError, match=r"reference\.npz: damaged"):
        repository.reference("m")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_pointer_and_nothing_half_written(repository, monkeypatch, number, call):
    stored(repository)
    repository.serve("m", "fp32")
    stored(repository, "next", content=b"next")
    before = sorted(repository.root.rglob("*"))

    def full(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(atomic_files.os, call, full)
        for attempt in (lambda: repository.serve("m", "next"), lambda: repository.add_blob(b"more")):
            with pytest.raises(RepositoryFull, match="disk is full"):
                attempt()
    assert sorted(p for p in repository.root.rglob("*") if p.is_file()) == [p for p in before if p.is_file()]
    assert repository.serving("m") == "fp32"
    repository.serve("m", "next")  # room again
    assert repository.serving("m") == "next"


def test_a_real_limit_on_file_size_is_a_full_repository(tmp_path):
    """The kernel refuses the write itself: nothing is patched."""
    script = """
import resource, signal, sys
from porting.errors import RepositoryFull
from porting.repository.repository import Repository
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
repository = Repository(sys.argv[1])
small = repository.add_blob(b"small")
try:
    repository.add_blob(b"x" * 5000)
except RepositoryFull as error:
    print("full:", error)
assert repository.blob_bytes(small) == b"small" and not repository.verify()
assert not [p for p in repository.root.rglob("*.tmp")]
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("full:")


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from porting.repository import atomic_files
from porting.repository.repository import Repository
from porting.publish import derive

root, calls_max = Path(sys.argv[1]), int(sys.argv[2])
repository = Repository(root)
repository.variant("m", "fp32")

def promote(at):
    child = derive(repository, repository.variant("m", "fp32"), name=f"head-{at}",
                   head={"head.weight": np.full((2, 3), at), "head.bias": np.zeros(2)})
    repository.serve("m", child.name)
    repository.rollback("m")
    repository.serve("m", child.name)

def die_at(count):
    left = [count]
    def dying(function):
        def call(*args):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args)
        return call
    for name in ("open", "fsync", "replace", "close"):
        setattr(os, name, dying(getattr(os, name)))
    atomic_files._write_synced = dying(atomic_files._write_synced)

for count in range(1, calls_max):
    pid = os.fork()
    if pid == 0:
        die_at(count)
        promote(count)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status)
    fresh = Repository(root)
    serving = fresh.serving("m")
    fresh.check("m", serving)
    assert [e["number"] for e in fresh.history("m")] == list(range(1, len(fresh.history("m")) + 1))
    assert fresh.history("m")[-1]["variant"] == serving
    assert fresh.verify() == [], fresh.verify()
    if not killed:
        print("survived at", count)
        break
else:
    sys.exit("never ran to its end")
"""


def test_kill_minus_nine_at_every_step_of_a_promotion_leaves_a_served_variant_that_is_whole(repository):
    """A child is killed before its 1st, 2nd, 3rd, … call that touches the disk, until one comes through."""
    stored(repository)
    repository.serve("m", "fp32")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, repository.root, "400"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 20  # that many places were tried


def test_readers_see_whole_pointers_while_a_writer_promotes(repository):
    for name in "ab":
        stored(repository, name, content=name.encode())
    repository.serve("m", "a")
    seen, stop = set(), threading.Event()

    def read():
        reader = Repository(repository.root)
        while not stop.is_set():
            seen.add(reader.serving("m"))
            reader.history("m")

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        repository.serve("m", "ba"[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= {"a", "b"}
    assert len(repository.history("m")) == 31


def test_two_writers_do_not_lose_each_others_history(repository):
    stored(repository)

    def write():
        writer = Repository(repository.root)
        for _ in range(10):
            writer.serve("m", "fp32")

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(repository.history("m")) == 30
    assert json.loads((repository.root / "m" / "history" / "0030.json").read_text())["number"] == 30
