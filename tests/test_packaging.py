"""What a user can install: one ONNX Runtime at most, whichever extras are named together (docs/decisions/0002)."""

import re
import subprocess
import tomllib
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUNTIMES = {"onnxruntime", "onnxruntime-gpu"}
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
MODULE_OF = {"onnxruntime-gpu": "onnxruntime"}  # where a distribution is imported by another name


def name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def closure(requirements: list[str]) -> set[str]:
    """Distributions that these requirements name, with our own extras followed."""
    found: set[str] = set()
    for requirement in requirements:
        if ours := re.match(r"leeway\[([\w,]+)\]", requirement):
            found |= closure([inner for extra in ours[1].split(",") for inner in EXTRAS[extra]])
        else:
            found.add(name(requirement))
    return found


def test_the_base_distribution_names_no_runtime():
    assert not closure(PROJECT["project"]["dependencies"]) & RUNTIMES


@pytest.mark.parametrize(
    ("extra", "brings"),
    [
        ("cpu", {"onnxruntime"}),
        ("gpu", {"onnxruntime-gpu"}),
        ("demo", set()),
        ("http", set()),
        ("train", set()),
        ("dev", set()),
    ],
)
def test_an_extra_brings_one_runtime_or_none(extra: str, brings: set[str]):
    assert closure(EXTRAS[extra]) & RUNTIMES == brings


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"dev", "mutants"}))
def test_an_extra_names_only_what_some_line_imports(extra: str):
    """Development tools are left out: they are run, not imported."""
    code = [path.read_text() for package in WHEEL["packages"] for path in (ROOT / package).rglob("*.py")]
    for distribution in closure(EXTRAS[extra]):
        imported = re.compile(rf"^\s*(?:import|from) {MODULE_OF.get(distribution, distribution)}\b", re.MULTILINE)
        assert any(imported.search(text) for text in code), f"{extra}: no line imports {distribution}"


def test_extras_that_bring_different_runtimes_are_declared_in_conflict():
    declared = {frozenset(member["extra"] for member in group) for group in PROJECT["tool"]["uv"]["conflicts"]}
    clashing = {
        frozenset(pair) for pair in combinations(EXTRAS, 2) if closure([*EXTRAS[pair[0]], *EXTRAS[pair[1]]]) >= RUNTIMES
    }
    assert clashing == {frozenset({"cpu", "gpu"})} == declared


def test_the_wheel_takes_every_package_along():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    code = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert set(packages) == code


def test_the_command_exists():
    module, _, function = PROJECT["project"]["scripts"]["leeway"].partition(":")
    assert f"def {function}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()


def test_nobody_is_sent_to_the_other_project_of_our_name():
    """`leeway` on the public package index is not ours: no message and no page may say `pip install leeway`."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    code = [
        path
        for package in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        for path in (ROOT / package).rglob("*.py")
    ]
    wrong = re.compile(r"pip install (?:-\S+ )*['\"]?leeway\b")
    said = {
        path.relative_to(ROOT): line
        for path in [*pages, *code]
        for line in path.read_text().splitlines()
        if wrong.search(line)
    }
    assert [path for path, line in said.items() if "never say" not in line] == []


def test_what_stands_beside_the_code_is_taken_along():
    """Hatchling takes every file of a package, unless it is left out on purpose or Git ignores it."""
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]) == {"packages"}
    beside = [*(ROOT / "edge/systems").glob("*.yaml"), ROOT / "cli/drawing/page.css"]
    ignored = subprocess.run(["git", "check-ignore", *map(str, beside)], cwd=ROOT, capture_output=True, text=True)
    assert len(beside) > 2
    assert ignored.stdout == ""
