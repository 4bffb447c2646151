"""Replays the mutants of hand_made.yaml: applies each in a copy of the tree; the tests that it names must fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.mutants.copies import ROOT, copied, passes

LIST = ROOT / "tests" / "mutants" / "hand_made.yaml"


class StaleMutant(Exception):
    """A mutant's old text does not occur exactly once in its file any more."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file; `old` occurs exactly once in it. Each of `tests` (pytest ids) must fail with it."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def listed(path: Path = LIST) -> list[Mutant]:
    """Returns the mutants of a list, in its order."""
    return [Mutant(**entry) for entry in yaml.safe_load(path.read_text())]


def mutated(text: str, mutant: Mutant) -> str:
    """Returns `text` with the mutant in it. Raises StaleMutant where its old text is not there, or there twice."""
    if (found := text.count(mutant.old)) != 1:
        raise StaleMutant(f"{mutant}: its old text occurs {found} times; bring {LIST.name} up to date: {mutant.old!r}")
    return text.replace(mutant.old, mutant.new)


@contextmanager
def applied(tree: Path, mutant: Mutant) -> Iterator[None]:
    """Changes the file below `tree`, and puts it back at the end."""
    path = tree / mutant.file
    text = path.read_text() if path.exists() else ""
    path.write_text(mutated(text, mutant))
    try:
        yield
    finally:
        path.write_text(text)


def survived_by(tree: Path, mutant: Mutant) -> list[str]:
    """Returns the tests that pass although the mutant is in the tree."""
    with applied(tree, mutant):
        return [test for test in mutant.tests if passes(tree, [test])]


def replay(wanted: str = "") -> int:
    """Replays the mutants whose file or name contains `wanted`, a line for each; returns how many did not die."""
    mutants = [mutant for mutant in listed() if wanted in str(mutant)]
    with copied() as tree:
        named = sorted({test for mutant in mutants for test in mutant.tests})
        if named and not passes(tree, named):
            print("the tests fail without any mutant: ", *named)
            return len(mutants)
        return sum([not killed(tree, mutant) for mutant in mutants])


def killed(tree: Path, mutant: Mutant) -> bool:
    """Prints what became of one mutant."""
    try:
        blind = survived_by(tree, mutant)
    except StaleMutant as stale:
        print(f"stale     {stale}", flush=True)
        return False
    print(f"survived  {mutant}: {' '.join(blind)} passes" if blind else f"killed    {mutant}", flush=True)
    return not blind
