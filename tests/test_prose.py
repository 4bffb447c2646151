"""Checks the form of docstrings and comments in all packages."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PACKAGES = ("cli", "devices", "drift", "edge", "evaluation", "porting")

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
COMMAND = re.compile(r"app\.(command|callback)\(")  # a decorator of Typer
UNDOCUMENTED_LINES_MAX = 6  # body of a public function that needs no docstring

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


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


def faults(source: str, verb: str = "") -> Iterator[str]:
    """Yields what is wrong with the prose of a file, one line each. `verb`: the function that is a command, if any."""
    tree = ast.parse(source)
    for name, node in public(tree):
        if (said := ast.get_docstring(node)) is not None:
            yield from [] if is_help(node, verb) else faults_of(name, said)
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


def is_help(node: Documented, verb: str) -> bool:
    """Returns whether a docstring is the help of a command, which tells its user in the imperative what it does."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return node.name == verb or any(COMMAND.match(ast.unparse(decorator)) for decorator in node.decorator_list)


def verb_of(path: Path) -> str:
    """Returns the name that a command has in a file: `cli/port.py` may hold the verb `port`."""
    return path.stem if path.parent == ROOT / "cli" else ""


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
    assert not [*faults(path.read_text(), verb_of(path))]


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
        ('"""Holds lanes."""\n@cache\ndef show():\n    """Show it."""', "show: begins"),
        ('"""Holds lanes."""\n@app.command()\ndef show():\n    """Show it anew."""', "'anew' in"),
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


@pytest.mark.parametrize("decorator", ["app.command()", 'app.command("list")', "app.callback()"])
def test_help_of_a_command_may_be_imperative(decorator: str):
    assert not [*faults(f'"""Holds lanes."""\n@{decorator}\ndef show():\n    """Show a lane."""')]


def test_help_of_a_verb_may_be_imperative_in_its_file_alone():
    source = '"""Holds lanes."""\ndef port():\n    """Port a lane."""'
    assert not [*faults(source, verb_of(ROOT / "cli/port.py"))]
    assert [*faults(source, verb_of(ROOT / "cli/comparison/port.py"))]
