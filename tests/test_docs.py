"""The documents are true: files they name exist, commands they show are real, configs load, examples run."""

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from cli.drawing.config_reference import page
from cli.main import VERBS
from edge.config import load, schema
from porting.moved import MOVED
from tests.test_architecture import EDGE_FLOORS, MODULES, ORDER, imported

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
PLUG_INS = ["edge/policies", "edge/answers", "edge/estimators", "edge/observers", "edge/sources", "edge/planners"]
PLUG_INS += ["drift/detection", "drift/repair", "porting/graph", "porting/formats", "devices"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REPOSITORY_MAP = re.compile(r"```\nmodels/\n.*?```", re.DOTALL)  # files of a model repository, not of ours
ABSENT = {"edge.yaml", "serving.json", "reference.npz", "report.json", "report.html"}  # made by users and by runs


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str) -> list:
    """Every fenced block of a language, with its page for a name."""
    return [
        pytest.param(match[2], id=f"{page_id(page)}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in BLOCK.finditer(page.read_text())
        if match[1] == language
    ]


def commands(first: str) -> list[str]:
    """Every shell line in every page that begins with this word, comments and redirections cut."""
    lines = {line for block in blocks("sh") for line in block.values[0].splitlines()}
    lines |= {code for page in PAGES for code in re.findall(r"`([^`\n]+)`", page.read_text())}
    split = (re.split(r"\s+#|\s[&>|]|;", line)[0].strip() for line in lines)
    return sorted({line for line in split if line.split()[:1] == [first]})


@cache
def help_of(verb: str) -> str:
    call = [sys.executable, "-m", "cli.main", *verb.split(), "--help"]
    env = {"COLUMNS": "200", "PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, env=env, check=True).stdout


def plug_in_files() -> set[str]:
    files = (path for folder in PLUG_INS for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py")
    return {str(path.relative_to(ROOT)) for path in files}


def folders_on_the_map() -> list[tuple[str, str]]:
    """Returns the rows of the map in docs/architecture.md: a folder, and what it may import in its package."""
    text = (ROOT / "docs/architecture.md").read_text().partition("\n## The map\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([\w/]+)` \|.*\| (.*) \|$", text, re.MULTILINE)


def imports_in_the_package(folder: str) -> set[str]:
    """Returns the other folders of its package that the files of a folder import."""
    files = [path for path in MODULES if path.parent == ROOT / folder]
    others = {str(other.parent.relative_to(ROOT)) for path in files for other in imported(path)}
    return {other for other in others - {folder} if other.split("/")[0] == folder.split("/")[0]}


def floor(folder: str) -> int:
    """Returns the floor of a folder inside `edge`, 1 for the lowest; the daemon's for `edge` itself."""
    room = folder.split("/")[1] if "/" in folder else "daemon.py"
    return next(len(EDGE_FLOORS) - depth for depth, rooms in enumerate(EDGE_FLOORS) if room in rooms)


def test_the_map_has_one_line_for_each_folder_of_code():
    packages = [path.parent for path in MODULES if path.name == "__init__.py"]
    assert sorted(folder for folder, _ in folders_on_the_map()) == sorted(map(page_id, packages))


@pytest.mark.parametrize(("folder", "allowed"), folders_on_the_map())
def test_the_map_says_what_each_folder_may_import(folder: str, allowed: str):
    if folder.split("/")[0] == "edge":
        assert allowed == f"floor {floor(folder)}"
    else:
        assert imports_in_the_package(folder) - set(re.findall(r"`([\w/]+)`", allowed)) == set()


def test_the_map_gives_the_order_of_packages():
    assert f"`{' -> '.join(ORDER)}`" in (ROOT / "docs/architecture.md").read_text()


def test_every_plug_in_has_a_row_and_every_row_a_file():
    named = set(
        re.findall(
            r"`((?:cli|evaluation|edge|drift|porting|devices)/[\w/]+\.py)`", (ROOT / "docs/ideas.md").read_text()
        )
    )
    assert sorted(plug_in_files() - named) == [], "files without a row in docs/ideas.md"
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == [], "rows without a file"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", BLOCK.sub("", page.read_text()))
    files = [target for target in targets if not re.match(r"\w+:", target)]
    assert [target for target in files if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_that_a_page_names_exist(page: Path):
    text = BLOCK.sub("", REPOSITORY_MAP.sub("", page.read_text()))
    named = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|yaml|json|npz|onnx))`", text)
    ours = [name for name in named if name.split("/")[-1] not in ABSENT and not name.startswith(("runs/", "models/"))]
    new = {line[2:].strip() for block in blocks("python") for line in block.values[0].splitlines()[:1]}
    assert [name for name in ours if not (ROOT / name).exists() and name not in new] == []


@pytest.mark.parametrize("command", commands("make"))
def test_chores_exist(command: str):
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    words = [word for word in shlex.split(command)[1:] if "=" not in word]
    assert words, f"{command}: no chore"
    assert set(words) <= made


def test_every_chore_has_a_row():
    made = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^\| `make ([a-z-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE) == made


def test_the_changelog_lists_every_import_path_that_moved():
    rows = re.findall(r"^\| `([\w.]+:\w+)` \| `([\w.]+:\w+)` \|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert dict(rows) == MOVED


@pytest.mark.parametrize("command", commands("leeway"))
def test_commands_exist_and_so_do_their_options(command: str):
    _, *words = shlex.split(command.replace("…", ""))
    if not words or words[0].startswith("-"):
        assert all(word in help_of("") for word in words)
        return
    assert words[0] in VERBS, f"{command}: no such verb"
    deeper = len(words) > 1 and re.search(rf"│ {re.escape(words[1])} ", help_of(words[0]).partition("Commands")[2])
    said = help_of(" ".join(words[:2]) if deeper else words[0])
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert [option for option in sorted(options) if option not in said] == [], f"{command}: unknown options"


def runnable() -> list[str]:
    """Commands of ours in blocks under `<!-- runs -->`: quick ones that need nothing but the repository."""
    marked = re.compile(r"<!-- runs -->\n+```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    lines = [line for page in PAGES for block in marked.findall(page.read_text()) for line in block.splitlines()]
    return [line.split(" #")[0].strip() for line in lines if line.startswith("leeway ")]


@pytest.mark.parametrize("command", runnable())
def test_marked_commands_run(command: str):
    call = [sys.executable, "-m", "cli.main", *shlex.split(command)[1:]]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("text", blocks("yaml"))
def test_configs_load(text: str, tmp_path: Path):
    """A whole file loads; an excerpt (no `apps:` at its start) must at least be YAML with known keys."""
    if "apps:" in text and "streams:" in text:
        (tmp_path / "edge.yaml").write_text(text)
        assert load(tmp_path / "edge.yaml").apps
    else:
        assert yaml.safe_load(text)


def test_the_reference_of_the_config_is_up_to_date():
    written = (ROOT / "docs/configuration.md").read_text()
    assert written == page(schema()), "docs/configuration.md is older than edge/config.py: make docs"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("edge*.yaml")), ids=page_id)
def test_configs_of_the_examples_load(path: Path):
    assert load(path).streams


@pytest.mark.parametrize("text", blocks("python"))
def test_python_parses(text: str):
    assert ast.parse(text).body
