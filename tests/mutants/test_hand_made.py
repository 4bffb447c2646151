"""The replay itself: a mutant is applied where its text is, and a list that is out of date says so."""

import re
from pathlib import Path

import pytest

from tests.mutants import hand_made
from tests.mutants.hand_made import Mutant, StaleMutant, applied, killed, listed, mutated

ADDS = "def total(a, b):\n    return a + b\n"
SUBTRACTS = Mutant("subtracts", "sums.py", "a + b", "a - b", ["test_sums.py"])
CHECKED = "from sums import total\ndef test_total():\n    assert total(3, {}) == {}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sums.py").write_text(ADDS)
    return tmp_path


def test_a_mutant_is_applied_and_taken_back(tree: Path) -> None:
    with applied(tree, SUBTRACTS):
        assert "a - b" in (tree / "sums.py").read_text()
    assert (tree / "sums.py").read_text() == ADDS


@pytest.mark.parametrize(("text", "times"), [("def total(a, b): ...", 0), (ADDS + ADDS, 2)])
def test_a_text_that_is_not_there_exactly_once_is_named(text: str, times: int) -> None:
    with pytest.raises(StaleMutant, match=re.escape(f"sums.py: subtracts: its old text occurs {times} times")):
        mutated(text, SUBTRACTS)


@pytest.mark.parametrize(("number", "dies"), [(0, False), (2, True)])
def test_what_a_test_does_not_notice_survived(
    tree: Path, capsys: pytest.CaptureFixture[str], number: int, dies: bool
) -> None:
    (tree / "test_sums.py").write_text(CHECKED.format(number, 3 + number))
    assert killed(tree, SUBTRACTS) is dies
    assert capsys.readouterr().out.startswith("killed" if dies else "survived")


def test_a_file_that_is_gone_is_stale_and_not_made(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert killed(tree, Mutant("gone", "gone.py", "a", "b", [])) is False
    assert capsys.readouterr().out.startswith("stale     gone.py: gone: its old text occurs 0 times")
    assert not (tree / "gone.py").exists()


def test_the_list_names_files_and_tests_that_exist() -> None:
    mutants = listed()
    assert len({str(mutant) for mutant in mutants}) == len(mutants) > 20
    files = {file for mutant in mutants for file in (mutant.file, *(test.partition("::")[0] for test in mutant.tests))}
    assert [file for file in sorted(files) if not (hand_made.ROOT / file).exists()] == []
