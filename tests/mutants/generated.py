"""Runs mutmut over the modules of `[tool.leeway.mutants]` in pyproject.toml, each with the tests named beside it."""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tests.mutants.copies import ROOT, bounded, copied, environment

RESULTS = ROOT / "runs" / "mutants"  # of each module a JSON file, and the diffs of what survived
KILLED = {"killed", "timeout", "suspicious", "segfault"}  # "timeout": the mutant loops for ever, which a test notices
RESULT = re.compile(r"^\s+(\S+__mutmut_\d+): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Score:
    """What became of one module's mutants. `status`: mutmut's names of what can become of one -> how many."""

    module: str
    seconds: int
    status: dict[str, int]
    alive: list[str] = field(repr=False)  # names of those that no test killed, or none ran

    @property
    def total(self) -> int:
        return sum(self.status.values())

    @property
    def share(self) -> float:
        """Returns the share of the mutants that a test killed, 0..1."""
        return 1 - len(self.alive) / max(1, self.total)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self.status.items()))
        return f"{self.module}: {self.share:.0%} of {self.total} in {self.seconds} s ({counts})"


def modules() -> dict[str, list[str]]:
    """Returns the modules to mutate, each with the tests that hold it."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["leeway"]["mutants"])


def configure(tree: Path, module: str, tests: list[str]) -> None:
    """Narrows the settings of mutmut in a copy to one module: it knows one set of tests for all it mutates."""
    path = tree / "pyproject.toml"
    narrow = f"[tool.mutmut]\nonly_mutate = {json.dumps([module])}\n"
    narrow += f"pytest_add_cli_args_test_selection = {json.dumps(tests)}\n"
    path.write_text(path.read_text().replace("[tool.mutmut]\n", narrow))


def mutmut(tree: Path, *words: str) -> str:
    """Returns what a command of mutmut printed. Raises RuntimeError with its last lines where it failed."""
    call = [sys.executable, "-m", "mutmut", *words]
    done = subprocess.run(call, cwd=tree, env=environment(), capture_output=True, text=True, preexec_fn=bounded)
    if done.returncode:
        raise RuntimeError(f"{' '.join(call)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def score_of(tree: Path, module: str, tests: list[str], workers: int) -> Score:
    """Mutates one module in a copy of the tree, and keeps results and the diffs of the survivors in `RESULTS`."""
    configure(tree, module, tests)
    began = monotonic()
    mutmut(tree, "run", "--max-children", str(workers))
    status = dict(RESULT.findall(mutmut(tree, "results", "--all", "true")))
    alive = [name for name, said in status.items() if said not in KILLED]
    score = Score(module, round(monotonic() - began), dict(Counter(status.values())), alive)
    keep(score, "".join(mutmut(tree, "show", name) + "\n" for name in alive))
    return score


def keep(score: Score, diffs: str) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    stem = score.module.removesuffix(".py").replace("/", ".")
    (RESULTS / f"{stem}.json").write_text(json.dumps(vars(score), indent=1) + "\n")
    (RESULTS / f"{stem}.diff").write_text(diffs)


def run(wanted: str = "", workers: int = 2) -> list[Score]:
    """Scores the modules whose path contains `wanted`, a line for each as soon as it is known."""
    scores = []
    for module, tests in modules().items():
        if wanted in module:
            with copied() as tree:
                scores.append(score_of(tree, module, tests, workers))
            print(scores[-1], flush=True)
    return scores
