"""What the doctor sees."""

import json
import os
import shutil
from dataclasses import asdict
from importlib import metadata

import pytest

from devices import probe


def test_findings_are_plain_and_say_what_to_do_when_something_is_missing():
    findings = probe.probe()
    assert json.dumps([asdict(finding) for finding in findings])
    assert all(finding.remedy for finding in findings if finding.state != "ok")
    assert {"processor", "memory", "onnxruntime", "mosquitto", "NVIDIA GPU"} <= {finding.name for finding in findings}


def test_it_asks_for_no_library_that_no_line_imports():
    assert not {"tensorrt", "pycuda", "tensorrt_rtx_cu13_bindings"} & {finding.name for finding in probe.probe()}


def test_this_machine_can_run_the_tests():
    assert all(finding.state == "ok" for finding in probe.probe() if finding.needed)


def test_two_runtimes_are_broken_and_needed(monkeypatch):
    monkeypatch.setattr(probe, "installed_runtimes", lambda: ["onnxruntime", "onnxruntime-gpu"])
    (finding,) = [f for f in probe.probe() if f.name == "onnxruntime"]
    assert (finding.state, finding.needed) == ("broken", True)
    assert "pip uninstall" in finding.remedy


def test_nothing_installed_is_missing_everywhere_and_no_error(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(probe, "installed_runtimes", list)
    states = {finding.name: finding.state for finding in probe.probe()}
    assert states["onnxruntime"] == states["torch"] == states["mosquitto"] == states["NVIDIA GPU"] == "missing"


@pytest.mark.parametrize(
    ("script", "state"), [("echo 'Thor, 1 MiB, 1.0'", "ok"), ("echo 'no devices' >&2; exit 9", "broken")]
)
def test_the_gpu_is_asked_and_may_be_broken(tmp_path, monkeypatch, script, state):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (finding,) = [f for f in probe.probe() if f.name == "NVIDIA GPU"]
    assert finding.state == state


def test_fingerprint_names_what_a_measurement_depends_on():
    found = probe.fingerprint()
    assert {"machine", "cpu", "cores", "python", "onnx"} <= found.keys()
    assert "onnxruntime" in found or "onnxruntime-gpu" in found
