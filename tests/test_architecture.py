"""The rules that keep the code easy to hold in the head: one-way imports, heavy ones in one file, a pure core."""

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ["cli", "evaluation", "edge", "drift", "porting", "devices"]  # each imports only from its right
MODULES = sorted(path for package in ORDER for path in (ROOT / package).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]

LINES_MAX = 400
MEDIAN_FUNCTION_LINES = 7

# Imports that cost a second, a platform or an extra: where each may stand. A trailing slash means a folder.
HEAVY = {
    "onnxruntime": ["devices/cpu.py"],
    "torch": [],  # trains the examples; nothing that serves needs it
    "amqtt": ["edge/sources/mqtt/broker.py"],
    "matplotlib": ["cli/drawing/", "cli/run_report/", "cli/comparison_report/"],
    "starlette": ["edge/sources/http/server.py"],  # an extra, and a tenth of a second each
    "uvicorn": ["edge/sources/http/server.py"],
    "simplejpeg": ["edge/data/", "edge/sources/", "edge/observers/adaptation/labels.py", "porting/", "cli/"],
    "paho": ["edge/sources/", "cli/"],
    "onnx": ["porting/", "drift/repair/batch_norm.py", "edge/observers/adaptation/wiring.py", "devices/simulated.py"],
    "scipy": [
        "drift/",
        "cli/run_report/",
        "edge/planners/blocks/variant_mix.py",
    ],  # a linear program, only where the planner is asked for
    "typer": ["cli/"],
    "rich": ["cli/", "porting/checks/report.py"],
}

# What decides: time is handed in, chance is handed in, nothing is read or written.
PURE = ["edge/core/", "edge/meters/", "edge/policies/", "edge/planners/", "edge/answers/", "edge/estimators/"]
PURE += ["evaluation/synthetic.py"]
NOT_IN_CORE = {"time", "random", "threading", "asyncio", "os", "socket", "datetime", "subprocess", "secrets", "uuid"}
CHANCE_HANDED_IN = {"edge/core/simulation.py", "evaluation/synthetic.py"}  # they make a generator of the seed they get

# Rooms of edge/, the highest first: each imports only rooms below its own line. House rule: core decides, data travels,
# runtime executes, sources bring and publish; policies, planners, answers and estimators are chosen; observers watch;
# the daemon wires.
EDGE_FLOORS = [
    {"daemon.py"},
    {"config.py", "observers"},
    {"systems", "sources", "planners"},
    {"policies", "runtime"},
    {"data", "meters"},
    {"answers", "estimators"},
    {"core", "plugins.py"},
]
FILES_MAX = 12  # modules directly in a folder of several kinds
ONE_KIND = {"edge/policies", "evaluation/arrivals", "edge/policies/blocks"}  # each file in it is one of the same kind
FUNCTION_P90_LINES = 14

ENVIRONMENT = {
    "edge/config.py",  # `{LEEWAY_…}` values, so that passwords stay out of files
    "edge/sources/camera/frames.py",  # writes: FFmpeg inside OpenCV listens to nothing else
}

# Tests of one module lie at its place in the tree: `tests/a/b/test_x.py`, or `test_x_aspect.py`, for `a/b/x.py`. Tests
# that span several modules of a folder lie there under a name of their own; which, and why:
SPANNING = {
    "tests/edge/core/test_states.py": "the tables in `edge/core/__init__.py`, which tell of all modules of the core",
    "tests/edge/core/test_transitions.py": "from one version to the next: versions, residency, queues and scheduler",
    "tests/edge/estimators/test_learning.py": "all estimators on the same runs",
    "tests/edge/observers/adaptation/test_compiled_models.py": "wiring and watched_model, for models without ONNX",
    "tests/edge/policies/test_baselines.py": "fifo, round_robin and longest_queue, on the same queues",
    "tests/edge/policies/test_decisions.py": "what fifo, edf and the wrappers decide together",
    "tests/edge/runtime/test_remote_lane.py": "a lane and the daemon on another box that it runs on",
    "tests/edge/sources/mqtt/test_brokers.py": "source, connection and writer against real brokers",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Every absolute import below a node: the full dotted name, and its line."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from ((alias.name, found.lineno) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0, f"line {found.lineno}: relative import; write the package's name"
            yield found.module or "", found.lineno


def imports_on_import(path: Path) -> Iterator[tuple[str, int]]:
    """Imports that run when the module is imported: not those inside functions or under TYPE_CHECKING."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        waiting += ast.iter_child_nodes(node)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def top(dotted: str) -> str:
    return dotted.split(".")[0]


def is_pure(path: Path) -> bool:
    return name_of(path).startswith(tuple(PURE))


def module_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in MODULES}


def imported(path: Path) -> set[Path]:
    """Files of ours that a file imports, wherever in it: `from package import module` names the module."""
    found: set[Path] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {modules()[alias.name] for alias in node.names if alias.name in modules()}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                name = full if full in modules() else node.module
                found |= {modules()[name]} if name in modules() else set()
    return found - {path}


Rooms = dict[str, dict[str, str]]  # room -> room that it imports -> one import that says so


def rooms_of(files: Iterable[tuple[Path, Path]]) -> dict[str, Rooms]:
    """For each folder, the imports between what lies in it: files, and folders taken as one."""
    plans: dict[str, Rooms] = {}
    for importer, imports_ in files:
        one, other = importer.relative_to(ROOT).parts, imports_.relative_to(ROOT).parts
        depth = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
        plan = plans.setdefault("/".join(one[:depth]), {})
        plan.setdefault(one[depth], {})[other[depth]] = f"{name_of(importer)} imports {name_of(imports_)}"
    return plans


@cache
def plans() -> dict[str, Rooms]:
    return rooms_of((path, other) for path in MODULES for other in imported(path))


def circle_in(plan: Rooms) -> list[str]:
    """The imports of one circle, or nothing."""
    done: set[str] = set()

    def walk(room: str, way: list[str]) -> list[str]:
        if room in way:
            circle = [*way[way.index(room) :], room]
            return [plan[a][b] for a, b in pairwise(circle)]
        if room in done:
            return []
        found = next((circle for after in plan.get(room, {}) if (circle := walk(after, [*way, room]))), [])
        done.add(room)
        return found

    return next((circle for room in plan if (circle := walk(room, []))), [])


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_point_right(path: Path):
    package = path.relative_to(ROOT).parts[0]
    for dotted, line in imports(tree(path)):
        if top(dotted) in ORDER:
            left = ORDER.index(top(dotted)) < ORDER.index(package)
            assert not left, f"{name_of(path)}:{line} imports {dotted}; the way is {' -> '.join(ORDER)}"


@pytest.mark.parametrize("folder", sorted({str(path.parent.relative_to(ROOT)) for path in MODULES} | {"."}))
def test_no_circle_of_files_or_folders(folder: str):
    plan = plans().get("" if folder == "." else folder, {})
    assert not (circle := circle_in(plan)), f"a circle in {folder}:\n  " + "\n  ".join(circle)


def test_a_circle_is_found():
    assert circle_in({"a": {"b": "a imports b"}, "b": {"c": "b imports c"}, "c": {"b": "c imports b"}}) == [
        "b imports c",
        "c imports b",
    ]
    assert circle_in({"a": {"b": "", "c": ""}, "b": {"c": ""}}) == []


def test_imports_point_down_inside_edge():
    floors = {room: floor for floor, rooms in enumerate(EDGE_FLOORS) for room in rooms}
    plan = plans()["edge"]
    assert set(plan) <= set(floors), "a new room in edge/: give it a floor in EDGE_FLOORS"
    wrong = [said for room, below in plan.items() for other, said in below.items() if floors[other] <= floors[room]]
    assert not wrong, "\n".join(["imports that do not point down (EDGE_FLOORS):", *wrong])


def test_no_class_name_is_defined_twice():
    """One name, one thing: whoever reads `Job` need not look at the import to know which."""
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{name_of(path)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


# `kind ==` is for the place where text comes in. Elsewhere a protocol or a table says what a kind of thing does, so
# that another one is another file and no branch in many. Where a `kind` may be compared with a fixed word, and why:
KIND_IS_PARSED = {
    "cli/demonstration/images.py": "reads the words of the command line",
    "cli/demonstration/live_view.py": "reads topics",
    "cli/demonstration/recorder.py": "reads topics",
    "cli/demonstration/show.py": "reads topics",
    "cli/run_report/pictures.py": "chooses a colour for a line of a journal",
    "edge/observers/trace.py": "reads a trace",
    "drift/context.py": "counts a line of a journal in the plural",
    "drift/repair/prior_reweighting.py": "the word that a detector has said",
    "evaluation/arrivals/disb_trace.py": "reads a trace file",
    "evaluation/arrivals/recording.py": "reads a trace",
    "porting/variant.py": "the one place where the kind of a stage is understood",
}
DTYPE_KIND = {  # NumPy's `dtype.kind`: another thing of the same name
    "devices/cpu.py",
    "devices/oip.py",
    "porting/checks/profiler.py",
    "porting/graph/edit.py",
    "porting/images.py",
}


def is_kind(node: ast.AST) -> bool:
    """Returns whether the expression is `kind`, `x.kind` or `x["kind"]`."""
    match node:
        case ast.Name("kind") | ast.Attribute(attr="kind") | ast.Subscript(slice=ast.Constant("kind")):
            return True
    return False


def is_fixed_word(node: ast.AST) -> bool:
    """Returns whether the expression is a string, a constant, the kind of a class, or a collection with one of them.

    A table by its name is none: `kind in TABLE` is how it should be.
    """
    match node:
        case ast.Constant(str()):
            return True
        case ast.Attribute(ast.Name(owner), "kind"):
            return owner[:1].isupper()
        case ast.Tuple(elements) | ast.List(elements) | ast.Set(elements):
            return any(map(is_fixed_word, elements))
    return False


def is_constant_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id.isupper()


def kind_comparisons(node: ast.AST) -> Iterator[int]:
    """Lines on which a kind is compared with a fixed word, or matched against one."""
    for found in ast.walk(node):
        if isinstance(found, ast.Compare):
            sides = [found.left, *found.comparators]
            equals = isinstance(found.ops[0], ast.Eq | ast.NotEq)
            fixed = any(is_fixed_word(side) or (equals and is_constant_name(side)) for side in sides)
            if any(map(is_kind, sides)) and fixed:
                yield found.lineno
        elif isinstance(found, ast.Match) and is_kind(found.subject):
            yield found.lineno


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_no_kind_is_compared_outside_parsing(path: Path):
    allowed = {*KIND_IS_PARSED, *DTYPE_KIND}
    if name_of(path) not in allowed:
        lines = [*kind_comparisons(tree(path))]
        assert not lines, f"{name_of(path)}:{lines}: `kind` is compared; let the thing itself say what is wanted of it"


def test_files_that_may_compare_kinds_do():
    """A file that no longer needs its place in the lists above loses it."""
    listed = {*KIND_IS_PARSED, *DTYPE_KIND}
    assert not [name for name in listed if not [*kind_comparisons(tree(ROOT / name))]]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('lane.kind == "remote"', True),
        ('"remote" != lane.kind', True),
        ('kind in ("a", "b")', True),
        ('stage["kind"] == "onnx"', True),
        ("lane.kind == REMOTE", True),
        ("device.kind != Remote.kind", True),
        ('match stage.kind:\n case "onnx": pass', True),
        ("one.kind == other.kind", False),
        ("thing.kind == label", False),
        ("kind in self.artefacts", False),
        ("kind in TABLE", False),
        ('name == "kind"', False),
    ],
)
def test_comparisons_of_kinds_are_found(code: str, found: bool):
    assert bool([*kind_comparisons(ast.parse(code))]) == found


def test_a_folder_can_be_looked_over():
    """At most a dozen files directly in a folder, unless all of them are of one kind."""
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES if path.name != "__init__.py")
    assert {folder: n for folder, n in counts.items() if n > FILES_MAX and folder not in ONE_KIND} == {}


def test_what_runs_on_the_box_needs_no_evaluation():
    """A wheel without `evaluation/` serves: neither the daemon nor the verbs of a box import it."""
    import subprocess

    asked = (
        "import sys; sys.modules['evaluation'] = None\n"
        "import cli.run, cli.port, cli.models, cli.config, cli.doctor, edge.daemon, edge.sources.http.server\n"
        "from pkgutil import walk_packages; import edge\n"
        "for found in walk_packages(edge.__path__, 'edge.'): __import__(found.name)"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_examples_are_imported_by_the_command_alone_and_late(path: Path):
    wanted = [line for dotted, line in imports(tree(path)) if top(dotted) in {"examples", "tests", "benchmarks"}]
    at_import = [line for dotted, line in imports_on_import(path) if top(dotted) == "examples"]
    assert not wanted or name_of(path).startswith("cli/"), f"{name_of(path)}:{wanted[0]} imports an example"
    assert not at_import, f"{name_of(path)}:{at_import[0]} imports an example at import; do it inside the function"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_heavy_imports_stay_in_their_file(path: Path):
    for dotted, line in imports(tree(path)):
        if (places := HEAVY.get(top(dotted))) is not None:
            fits = any(name_of(path).startswith(place) for place in places)
            assert fits, (
                f"{name_of(path)}:{line} imports {dotted}; it belongs in {', '.join(places) or 'examples alone'}"
            )


def test_nothing_is_imported_that_the_project_does_not_name():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = " ".join(
        [*project["dependencies"], *(p for extra in project["optional-dependencies"].values() for p in extra)]
    )
    distribution = {"yaml": "PyYAML", "paho": "paho-mqtt", "cv2": "opencv-python-headless", "google": "onnx"}
    for path in MODULES:
        for dotted, line in imports(tree(path)):
            package = top(dotted)
            if package in ORDER or package == "examples" or package in sys.stdlib_module_names:
                continue
            assert distribution.get(package, package) in named, (
                f"{name_of(path)}:{line} imports {dotted}: not in pyproject.toml"
            )


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(path)], ids=lambda path: name_of(path))
def test_the_core_has_no_clock_no_chance_and_no_files(path: Path):
    for dotted, line in imports(tree(path)):
        allowed = top(dotted) == "random" and name_of(path) in CHANCE_HANDED_IN
        assert allowed or top(dotted) not in NOT_IN_CORE, f"{name_of(path)}:{line} imports {dotted}; hand it in"
    for node in ast.walk(tree(path)):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
        assert called not in {"open", "print", "input"}, f"{name_of(path)}:{node.lineno} calls {called}"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_chance_is_seeded(path: Path):
    """`random.random()` and `np.random.rand()` draw from a generator that nobody handed in."""
    made = {"Random", "default_rng", "Generator", "SeedSequence", "PCG64"}
    shared = {"np.random", "numpy.random"} | {alias for alias in modules_named(path) if alias == "random"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in shared:
            assert node.attr in made, f"{name_of(path)}:{node.lineno} uses {ast.unparse(node)}; hand in a generator"
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"Random", "default_rng"}:
            assert node.args or node.keywords, f"{name_of(path)}:{node.lineno} makes a generator without a seed"


def modules_named(path: Path) -> set[str]:
    """Names that `import x` gives to modules in this file; a local variable may have the same name in another file."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import)
        for alias in node.names
    }


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_the_environment_is_read_in_one_place(path: Path):
    if name_of(path) in ENVIRONMENT:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}:
            passed_on = name_of(path).startswith("cli/") and "environ" in node.attr  # a child process inherits it
            assert passed_on, f"{name_of(path)}:{node.lineno} reads the environment; put it into the config"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_says_what_it_is_for_and_stays_small(path: Path):
    assert (said := ast.get_docstring(tree(path))), f"{name_of(path)} has no docstring; say in one line what it is for"
    assert said.splitlines()[0].strip(), f"{name_of(path)}: the first line of the docstring is empty"
    assert (lines := len(path.read_text().splitlines())) < LINES_MAX, f"{name_of(path)} has {lines} lines; split it"


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Returns the lines of a function without its docstring: to explain more should not cost anything."""
    said = node.body[0] if ast.get_docstring(node) is not None else None
    return (node.end_lineno or 0) - node.lineno + 1 - ((said.end_lineno or 0) - said.lineno + 1 if said else 0)


def test_most_functions_fit_in_a_hand():
    lengths = sorted(code_lines(node) for path in MODULES for node in functions(path))
    assert statistics.median(lengths) < MEDIAN_FUNCTION_LINES
    assert lengths[int(0.9 * len(lengths))] <= FUNCTION_P90_LINES


def test_there_is_no_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    assert not [name for path, name in zip(MODULES, NAMES, strict=True) if path.stem in drawers]


@pytest.mark.parametrize("package", ORDER)
def test_every_folder_of_code_is_a_package(package: str):
    """A forgotten `__init__.py` works here and is missing from the wheel's plug-in listings."""
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert not [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()]


def mirrored(test: str) -> set[str]:
    """Returns the modules that a test may be named for: `x_y` and `x`, in its folder, for `test_x_y.py`."""
    folder, _, name = test.removeprefix("tests/").rpartition("/")
    words = name.removeprefix("test_").removesuffix(".py").split("_")
    return {f"{folder}/{'_'.join(words[:n])}" for n in range(1, len(words) + 1)}


def is_module(place: str) -> bool:
    """Returns whether a module or a package lies at this place, such as `edge/core/state`."""
    return (ROOT / f"{place}.py").exists() or (ROOT / place / "__init__.py").exists()


def code_tests() -> list[str]:
    """Returns the test modules below `tests/<package>/`."""
    return [name_of(path) for package in [*ORDER, "examples"] for path in (ROOT / "tests" / package).rglob("test_*.py")]


@pytest.mark.parametrize("test", sorted(code_tests()))
def test_tests_mirror_the_tree(test: str):
    folder = str(Path(test).parent).removeprefix("tests/")
    assert (ROOT / folder / "__init__.py").exists(), f"{test}: there is no package {folder}/"
    named = any(map(is_module, mirrored(test)))
    assert named != (test in SPANNING), f"{test}: name it for a module of {folder}/, or else give a reason in SPANNING"


def test_tests_that_span_modules_exist():
    assert [test for test in SPANNING if test not in code_tests()] == []


def test_names_of_tests_are_taken_apart():
    assert mirrored("tests/edge/test_daemon_mqtt.py") == {"edge/daemon", "edge/daemon_mqtt"}
    assert is_module("edge/systems")
    assert not is_module("edge/daemon_mqtt")


def test_importing_a_rightmost_package_does_not_pull_in_the_left():
    """The table above checks what is written; this checks what happens."""
    import subprocess

    asked = "import sys, porting.variant, devices.interface; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(loaded.split()) & {"cli", "edge", "drift", "onnxruntime", "onnx", "cv2", "torch", "matplotlib"}
