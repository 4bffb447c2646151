"""The way back of a model, and the names and profiles of its variants."""

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
    for name in ("fp32", "head-of-2", "realign-7", "x"):
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
