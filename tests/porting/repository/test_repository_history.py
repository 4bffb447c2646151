"""The way back of a model, and the names and profiles of its variants."""

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from porting.errors import UserError
from porting.repository.repository import Repository
from tests.porting.repository.test_repository import stored


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "models")


@pytest.mark.parametrize(
    ("served", "back"),
    [
        ("aba", ["b", "a"]),  # served again later: the way back leads over what was between
        ("abcb", ["c", "b", "a"]),
        ("abab", ["a", "b", "a"]),
    ],
)
def test_the_way_back_is_the_way_that_was_gone(repository, served, back):
    for name in sorted(set(served)):
        stored(repository, name, content=name.encode())
    for name in served:
        repository.serve("m", name)
    assert [repository.rollback("m") for _ in back] == back
    with pytest.raises(UserError, match="m: nothing served before 'a'; there is no way back"):
        repository.rollback("m")


def test_what_never_served_has_no_way_back(repository):
    stored(repository)
    with pytest.raises(UserError, match="m: nothing served before 'now'"):
        repository.rollback("m")


def test_after_a_rollback_to_a_name_the_way_back_begins_there(repository):
    for name in "abc":
        stored(repository, name, content=name.encode())
        repository.serve("m", name)
    assert repository.rollback("m", to="b") == "b"
    assert repository.rollback("m") == "a"
    repository.serve("m", "b")
    repository.serve("m", "c")
    assert repository.rollback("m", to="a") == "a"
    with pytest.raises(UserError, match="no way back"):
        repository.rollback("m")


def test_a_free_name_is_beyond_all_numbers_given_and_at_least_the_count(repository):
    for name in ("fp32", "head-2-7", "realign-5", "x"):
        stored(repository, name)
    assert repository.free_name("m", "head") == "head-8"
    for name in ("n1", "n2", "n3"):
        stored(repository, name, model="n")
    assert repository.free_name("n", "head") == "head-3"


def test_a_profile_is_found_by_the_name_of_its_device(repository):
    stored(repository)
    repository.add_profile("m", "fp32", "gpu@attic", {"graphs": {}})
    repository.add_profile("m", "fp32", "cpu", {"graphs": {"g": {}}})
    assert repository.profiles("m", "fp32") == {"cpu": {"graphs": {"g": {}}}, "gpu@attic": {"graphs": {}}}


def test_each_entry_says_what_served_since_when_and_why(repository):
    stored(repository, "a")
    stored(repository, "b", content=b"b")
    before = datetime.now(UTC).replace(microsecond=0)
    repository.serve("m", "a", {"reason": "first"})
    repository.serve("m", "b")
    repository.rollback("m", why={"reason": "worse"})
    entries = repository.history("m")
    told = [(e["variant"], e["number"], e["action"], e["why"]) for e in entries]
    assert told == [
        ("a", 1, "serve", {"reason": "first"}),
        ("b", 2, "serve", {}),
        ("a", 3, "rollback", {"reason": "worse"}),
    ]
    assert all(before <= datetime.fromisoformat(e["since"]) <= datetime.now(UTC) for e in entries)
    assert repository.pointer("m") == entries[-1]


def test_an_entry_beyond_the_pointer_never_served(repository):
    """A crash between the two writes leaves one; the next pointer takes its number."""
    stored(repository)
    folder = repository.root / "m" / "history"
    folder.mkdir()
    (folder / "0001.json").write_text('{"variant": "lost", "action": "serve"}')
    (folder / "0000.json").write_text("no entry")
    assert repository.history("m") == []
    repository.serve("m", "fp32")
    (folder / "0002.json").write_text('{"variant": "lost", "action": "serve"}')
    assert [entry["variant"] for entry in repository.history("m")] == ["fp32"]


@pytest.mark.parametrize("pointer", ['{"variant": "fp32"}', '{"number": 1}', '{"variant": 1, "number": 1}'])
def test_a_pointer_that_does_not_point_is_named(repository, pointer):
    stored(repository)
    (repository.root / "m" / "serving.json").write_text(pointer)
    with pytest.raises(UserError, match=r"serving\.json: says no variant and number"):
        repository.serving("m")


def test_variants_stand_in_the_order_of_their_age(repository):
    for age, name in enumerate(("c", "a", "b")):
        stored(repository, name)
        os.utime(repository.variant_path("m", name), (100 + age, 100 + age))
    assert repository.variants("m") == ["c", "a", "b"]
    os.utime(repository.variant_path("m", "a"), (102, 102))
    assert repository.variants("m") == ["c", "a", "b"]  # of one age: by name


def test_a_stage_is_as_quick_as_its_graph_wherever_it_stands_in_the_chain(repository):
    """A child that dropped the first stage of its parent; of a third graph nothing was measured."""
    parent, stages = stored(repository)
    times = {stage.graph: {"batches": {"1": {"p99_ns": 10 + at}}} for at, stage in enumerate(stages)}
    repository.add_profile("m", "fp32", "cpu", {"graphs": times})
    child = replace(parent, name="short", stages=(stages[1].digest,), parent="fp32")
    repository.add_variant(child, stages[1:])
    assert [stage.durations_ns for stage in repository.stages(child, "cpu")] == [{1: 11}]
    repository.add_profile("m", "fp32", "half", {"graphs": {stages[0].graph: times[stages[0].graph]}})
    assert [stage.durations_ns for stage in repository.stages(parent, "half")] == [{1: 10}, {}]


def test_a_name_that_is_not_there_is_answered_with_all_that_are(repository):
    for model in ("m", "n"):
        for name in ("a", "b"):
            stored(repository, name, model=model)
    with pytest.raises(UserError, match=r"no model 'x'; there is m, n$"):
        repository.variant("x", "a")
    with pytest.raises(UserError, match=r"m: no variant 'x'; there is a, b$"):
        repository.variant("m", "x")
    with pytest.raises(UserError, match=r"no model 'x'; there is none yet$"):
        Repository(repository.root / "empty").variant("x", "a")
