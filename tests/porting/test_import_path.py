"""Import paths: what has moved is refused in one line that names the new place, wherever a path may stand."""

import pytest

from cli.port import device_of, pass_of
from drift.settings import DriftSettings
from edge.plugins import build
from porting.errors import UserError
from porting.import_path import resolve
from porting.moved import MOVED

OLD_POLICY, OLD_DETECTOR = "edge.policies.burst:Burst", "drift.detectors.bbsds:Bbsds"
OLD_RESPONSE, OLD_PASS = "drift.responses.head:HeadRetraining", "porting.passes.no_ops:NoOps"


def complaint(ask) -> str:
    with pytest.raises(UserError) as caught:
        ask()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_path_leads_to_the_object():
    assert resolve("porting.errors:UserError", "use") is UserError


@pytest.mark.parametrize("old", MOVED)
def test_a_class_that_has_moved_is_where_the_table_says(old: str):
    assert callable(resolve(MOVED[old], "use"))
    assert complaint(lambda: resolve(old, "policy.use")) == f"policy.use: {old!r} has moved; write {MOVED[old]!r}"


@pytest.mark.parametrize("path", ["porting.nothing:Pass", "porting.errors:Nobody", "a b:C", ":", "nothing"])
def test_a_path_that_leads_nowhere_is_one_line(path: str):
    assert complaint(lambda: resolve(path, "--pass")).startswith(f"--pass: {path!r} cannot be imported (")


def test_a_bug_in_the_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_plug_in.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        resolve("broken_plug_in:Class", "use")


@pytest.mark.parametrize(
    ("ask", "old"),
    [
        (lambda: build({"use": OLD_POLICY}), OLD_POLICY),
        (lambda: build({"use": "edge.policies.edf:EarliestDeadlineFirst", "x": {"use": OLD_POLICY}}), OLD_POLICY),
        (lambda: DriftSettings(detectors=(OLD_DETECTOR,)).tests(), OLD_DETECTOR),
        (lambda: DriftSettings(responses=({"use": OLD_RESPONSE, "epochs": 3},)).ladder(), OLD_RESPONSE),
        (lambda: pass_of(OLD_PASS), OLD_PASS),
        (lambda: device_of(OLD_PASS, 1), OLD_PASS),
    ],
    ids=["plug-in", "plug-in within one", "detector", "response", "pass", "device"],
)
def test_every_place_that_takes_a_path_names_the_new_one(ask, old: str):
    assert complaint(ask).endswith(f"{old!r} has moved; write {MOVED[old]!r}")


def test_a_device_without_a_path_is_one_of_those_with_a_name():
    assert complaint(lambda: device_of("gpu", 1)).startswith("--device gpu: unknown; expected cpu")
