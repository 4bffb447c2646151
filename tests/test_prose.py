"""Checks the form of docstrings and comments in the packages that were written to it: see `FINISHED`."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Folders and files whose prose has the form; one that is brought to it is added here.
FINISHED = (
    "edge/answers",
    "edge/config.py",
    "edge/core",
    "edge/daemon.py",
    "edge/data",
    "edge/estimators",
    "edge/meters",
    "edge/planners",
    "edge/plugins.py",
    "edge/policies",
    "edge/runtime",
    "edge/systems",
)

VERB = re.compile(r"[A-Z][a-z]*s\b")
# Plural nouns look like verbs to the pattern above.
NOUNS = {
    "Commands",
    "Devices",
    "Durations",
    "Events",
    "Lanes",
    "Models",
    "Parts",
    "Policies",
    "Requests",
    "Stages",
    "Tasks",
    "Variants",
}
DIALECT = re.compile(r"\b(nobody|whoever|anew|weather|slips?)\b", re.IGNORECASE)
UNDOCUMENTED_LINES_MAX = 6  # body of a public function that needs no docstring

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
FILES = sorted(
    file for entry in FINISHED for file in ([ROOT / entry] if entry.endswith(".py") else (ROOT / entry).rglob("*.py"))
)


def public(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """Yields the module and its public classes, functions and methods by name; nested functions are left out."""
    yield "module", tree
    yield from members("", tree.body)


def members(prefix: str, body: list[ast.stmt]) -> Iterator[tuple[str, Documented]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from members(f"{prefix}{node.name}.", node.body)


def faults(source: str) -> Iterator[str]:
    """Yields what is wrong with the prose of a file, one line each."""
    tree = ast.parse(source)
    for name, node in public(tree):
        if (said := ast.get_docstring(node)) is not None:
            yield from faults_of(name, said)
        elif not may_be_silent(node):
            yield f"{name}: no docstring; say what it does, beginning with a verb: Returns …"
    for text in (*docstrings(tree), *comments(source)):
        if found := DIALECT.search(text):
            yield f"{found.group()!r} in {text.splitlines()[0]!r}: say it in plain words"


def faults_of(name: str, said: str) -> Iterator[str]:
    first_word, summary = said.split()[0], said.split("\n\n")[0]
    if not VERB.match(first_word) or first_word in NOUNS:
        yield f"{name}: begins with {first_word!r}, not with a verb in the third person"
    if not summary.endswith("."):
        yield f"{name}: its first sentence does not end with a period: {summary.splitlines()[-1]!r}"


def may_be_silent(node: Documented) -> bool:
    """Returns whether a short function, an overload or a stub may go without a docstring."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    if any("overload" in ast.unparse(decorator) for decorator in node.decorator_list):
        return True
    return (node.body[-1].end_lineno or 0) - node.body[0].lineno < UNDOCUMENTED_LINES_MAX


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (said := ast.get_docstring(node)):
            yield said


def comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_has_the_form(path: Path):
    assert not [*faults(path.read_text())]


def test_every_entry_names_files():
    assert all((ROOT / entry).exists() for entry in FINISHED)


LONG = "".join(f"    x = {number}\n" for number in range(UNDOCUMENTED_LINES_MAX + 1))


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("x = 1", "module: no docstring"),
        ('"""What a lane does."""', "module: begins with 'What'"),
        ('"""Stages of a lane."""', "module: begins with 'Stages'"),
        ('"""Returns a lane"""', "module: its first sentence does not end"),
        ('"""Holds lanes."""\nclass Lane:\n    pass', "Lane: no docstring"),
        (f'"""Holds lanes."""\ndef run():\n{LONG}', "run: no docstring"),
        ('"""Holds lanes."""\ndef run():\n    """The run."""', "run: begins with 'The'"),
        (
            '"""Holds lanes."""\nclass Lane:\n    """Runs."""\n    def run(self):\n        """Run it."""',
            "Lane.run: begins",
        ),
        ('"""Holds lanes."""\nx = 1  # nobody asks', "'nobody' in"),
        ('"""Holds lanes."""\ndef _run():\n    """Read anew."""', "'anew' in"),
    ],
)
def test_a_fault_is_found(source: str, fault: str):
    assert [said for said in faults(source) if said.startswith(fault)]


@pytest.mark.parametrize(
    "source",
    [
        '"""Holds lanes.\n\n`name`: one of them.\n"""',
        '"""Holds lanes."""\ndef run():\n    return 1',
        f'"""Holds lanes."""\ndef _run():\n{LONG}',
        f'"""Holds lanes."""\n@overload\ndef run():\n{LONG}',
        '"""Holds lanes."""\nclass Lane:\n    """Runs; whether or not it may."""\n    def run(self): ...',
    ],
)
def test_good_prose_has_no_fault(source: str):
    assert not [*faults(source)]
