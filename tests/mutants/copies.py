"""Copies the working tree into a temporary folder, so that a mutant never touches the files that somebody edits."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
LEFT_OUT = ("*.pyc", "__pycache__", ".*", "runs", "run", "mutants", "build", "dist")
TEST_S = 600.0  # a mutant may loop for ever
MEMORY_BYTES = 4 << 30  # of address space, for each process
WRONG_CALL, NONE_FOUND = 4, 5  # exit codes of pytest


@contextmanager
def copied(root: Path = ROOT) -> Iterator[Path]:
    """Yields a copy of the tree without caches, runs and dot files; deletes it afterwards."""
    with TemporaryDirectory(prefix="leeway-mutants-") as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        yield copy


def environment() -> Mapping[str, str]:
    """Returns the environment of a test run in a copy: no byte code, which is told apart by size and second only."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


def bounded() -> None:
    """Limits the memory of a process and its children: a mutant that loops may collect something in every turn."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def passes(tree: Path, tests: list[str]) -> bool:
    """Returns whether pytest passes in `tree`; a run beyond `TEST_S` fails. Raises RuntimeError where none is run."""
    call = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            call, cwd=tree, env=environment(), capture_output=True, text=True, timeout=TEST_S, preexec_fn=bounded
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode in (WRONG_CALL, NONE_FOUND):
        raise RuntimeError(f"pytest could not run {' '.join(tests)}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0
