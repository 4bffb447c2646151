"""The doctor: what is needed and missing decides the exit code; what is not needed only gets a hint."""

import json

import pytest
import typer

from cli import doctor as verb
from devices import probe
from devices.probe import DoctorFinding


def finding(state: str = "ok", needed: bool = True) -> DoctorFinding:
    return DoctorFinding("thing", state, "seen", "" if state == "ok" else "get it", needed)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([finding()], 0),
        ([finding("missing", needed=False)], 0),
        ([finding("broken", needed=False)], 0),
        ([finding("missing")], 1),
        ([finding(), finding("broken")], 1),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_only_what_is_needed_decides(findings, code, as_json, monkeypatch, capsys):
    monkeypatch.setattr(probe, "probe", lambda: findings)
    with pytest.raises(typer.Exit) as ended:
        verb.doctor(as_json)
    said = capsys.readouterr().out
    assert ended.value.exit_code == code
    assert (json.loads(said)["ready"] if as_json else "cannot" not in said) == (code == 0)


def test_this_machine_is_described_and_every_lack_has_a_remedy(capsys):
    with pytest.raises(typer.Exit) as ended:
        verb.doctor(as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert ended.value.exit_code == (0 if said["ready"] else 1)
    names = {found["name"] for found in said["findings"]}
    assert {"Python", "processor", "memory", "onnxruntime", "mosquitto", "disk", "terminal"} <= names
    assert not [found["name"] for found in said["findings"] if found["state"] != "ok" and not found["remedy"]]


def test_a_full_disk_is_needed_room(monkeypatch, tmp_path):
    monkeypatch.setattr(verb, "DISK_FREE_MIN_GB", 1e9)
    found = verb.disk(tmp_path)
    assert (found.state, found.needed) == ("missing", True)
    assert "free" in found.remedy


def test_an_old_python_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(verb, "PYTHON_MIN", (99, 0))
    assert "99.0" in verb.python().remedy


def test_nobody_is_sent_to_a_stranger_of_the_same_name():
    """Another project owns the name `leeway` on the public index: hints name what is missing, never us."""
    assert not [
        found.remedy for found in probe.probe() if "install leeway" in found.remedy or "'leeway[" in found.remedy
    ]
