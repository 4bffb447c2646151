"""The command: quick help, one verb imported at a time, one line and an exit code for every slip."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli import main as command
from porting.errors import GateFailed, UserError

ROOT = Path(__file__).parents[2]
EVERY_VERB = pytest.mark.parametrize("verb", command.VERBS)


def leeway(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "cli.main", *args]
    return subprocess.run(
        call, cwd=ROOT, capture_output=True, text=True, env={"PATH": "/usr/bin", "COLUMNS": "100", **env}, timeout=60
    )


def called(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of one command, in this process."""
    with pytest.raises(SystemExit) as ended:
        command.main(args)
    return ended.value.code or 0, *capsys.readouterr()


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]):
    code, said, _ = called(["--help"], capsys)
    assert code == 0
    assert [verb for verb in command.VERBS if f" {verb} " not in said] == []


def test_help_imports_no_verb_and_nothing_heavy():
    asked = "import sys; from cli.main import main\ntry: main(['--help'])\nexcept SystemExit: print('|', *sys.modules)"
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = set(said.split("|")[-1].split())
    assert not loaded & {"numpy", "onnx", "onnxruntime", "cv2", "pydantic", "scipy", "matplotlib", "paho.mqtt.client"}
    assert not loaded & {f"cli.{verb}" for verb in command.VERBS}


@EVERY_VERB
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]):
    code, said, _ = called([verb, "--help"], capsys)
    assert code == 0
    assert "leeway" in said, f"`leeway {verb} --help` shows no example"
    group = isinstance(getattr(command.import_module(f"cli.{verb}"), "app", None), command.typer.Typer)
    assert group or "--json" in said, f"`leeway {verb}` has no --json"


def test_version(capsys: pytest.CaptureFixture[str]):
    code, said, _ = called(["--version"], capsys)
    assert (code, said.split()[0].strip(",")) == (0, "leeway")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["nope"], "nope"),
        (["dooctor"], "doctor"),  # the nearest verb is named
        (["doctor", "--jsno"], "--json"),
        (["config", "check", "/nowhere/edge.yaml"], "/nowhere/edge.yaml"),
    ],
)
def test_a_slip_is_told_without_a_traceback(args: list[str], expected: str, capsys: pytest.CaptureFixture[str]):
    code, out, err = called(args, capsys)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("model.onnx: no such file;\n give a path"), 2, "leeway: model.onnx: no such file; give a path\n"),
        (GateFailed("vehicles: 0.61 is under 0.70"), 3, "leeway: vehicles: 0.61 is under 0.70\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_a_verb_raises_becomes_an_exit_code(error, code, line, monkeypatch, capsys):
    monkeypatch.setattr(command, "app", raising(error))
    assert called([], capsys) == (code, "", line)


def test_a_missing_extra_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(command, "app", raising(ModuleNotFoundError("No module named 'amqtt'", name="amqtt")))
    code, _, err = called([], capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install amqtt" in err


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug of ours"), ModuleNotFoundError("x", name="edge.typo")])
def test_a_bug_keeps_its_traceback(error, monkeypatch):
    monkeypatch.setattr(command, "app", raising(error))
    with pytest.raises(type(error)):
        command.main([])


def test_completion_offers_the_verbs():
    offered = leeway(
        "--", _LEEWAY_COMPLETE="complete_bash", COMP_WORDS="leeway d", COMP_CWORD="1", _TYPER_COMPLETE_ARGS="leeway d"
    ).stdout.split()
    assert offered == ["demo", "doctor"]


def test_completion_can_be_shown():
    shown = leeway("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_LEEWAY_COMPLETE" in shown.stdout, shown.stderr


def test_config_check_confirms_the_example():
    checked = leeway("config", "check", "examples/junction/edge.yaml", "--json")
    assert checked.returncode == 0, checked.stderr
    assert '"ok": true' in checked.stdout


def test_config_check_finds_a_class_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = (ROOT / "examples/junction/edge.yaml").read_text()
    policy = 'policy: {use: "edge.policies.edf:EarliestDeadlineLast"}'
    (tmp_path / "edge.yaml").write_text(text.replace("system: leeway", policy))
    code, out, err = called(["config", "check", str(tmp_path / "edge.yaml")], capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "policy.use" in err
    assert "EarliestDeadlineLast" in err


def test_config_schema_is_json_schema(capsys: pytest.CaptureFixture[str]):
    command.app(["config", "schema"], standalone_mode=False)
    schema = json.loads(capsys.readouterr().out)
    assert {"models", "apps", "streams"} <= set(schema["required"])


def test_no_colour_in_a_pipe():
    assert "\x1b[" not in leeway("--help").stdout


def raising(error: BaseException):
    def app(*args: object, **options: object) -> None:
        raise error

    return app
