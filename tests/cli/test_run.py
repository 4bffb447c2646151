"""`leeway run` as typed: a process that serves, drains on SIGTERM, dies by kill -9, and says slips in one line."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from cli.run import books
from porting.repository.repository import Repository
from tests.edge.daemon_builder import Client, add_up, edge, jpeg, swapped, within


def leeway(*words, **more):
    command = [sys.executable, "-m", "cli.main", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@contextmanager
def running(*words):
    process = leeway("run", *words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def over(box, mosquitto):
    return edge(box, mqtt={"port": mosquitto.port, "node": "box", "reconnect_max_s": 0.3})


@pytest.mark.broker
@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_books_are_printed(box, mosquitto, word):
    with Client(mosquitto.port) as client, running("--config", over(box, mosquitto), "--json") as process:
        assert within(lambda: "online" in client.under("available"), 20)
        assert within(lambda: client.send(jpeg("red")) or client.under("result"))
        for _ in range(20):
            client.send(jpeg("blue"))
        process.send_signal(word)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        last = json.loads(said)
        assert last["final"]
        assert 0 < last["frames"]["in"] <= last["network"]["received"]  # more may come once the books are closed
        assert last["frames"]["waiting"] == 0
        assert set(last["frames"]["dropped"]) <= {"stopped", "superseded"}
        assert add_up(last["frames"])
        assert within(lambda: client.under("available")[-1] == "stopped")
        assert within(lambda: len(client.under("result")) == last["frames"]["answered"])


@pytest.mark.broker
def test_kill_9_leaves_a_repository_that_serves(box, mosquitto):
    config = over(box, mosquitto)
    repository = Repository(box / "repository")
    with Client(mosquitto.port) as client, running("--config", config) as process:
        assert within(lambda: client.send(jpeg("red")) or client.under("result"), 20)
        repository.serve("paint", swapped(repository))
        process.kill()
        process.wait()
        assert within(lambda: client.under("available")[-1] == "offline")
    assert repository.verify() == []
    with Client(mosquitto.port) as client, running("--config", config):
        assert within(lambda: client.send(jpeg("red")) or client.under("result"), 20)
        assert client.under("result")[0]["models"] == {"paint": "swapped"}


def test_it_stops_by_itself_and_needs_no_broker(box):
    process = leeway("run", "--config", edge(box), "--duration", "0.3", "--trace", box / "trace.jsonl")
    said, complaints = process.communicate(timeout=30)
    assert process.returncode == 0, complaints
    assert said.splitlines()[0].split() == [
        "camera",
        "in",
        "answered",
        "dropped",
        "in",
        "time",
        "p99",
        "ms",
        "why",
        "dropped",
    ]
    assert "no MQTT broker at 127.0.0.1:1" in complaints
    assert "Traceback" not in complaints
    assert (box / "trace.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"polcy": {}}, "polcy: unknown key; known here: answer, apps, background"),
        ({"models": "nowhere"}, "model 'paint' serves nothing; port it"),
        ({"devices": {"cpu0": {"use": "devices.cpu:Cpu", "threads": 0}}}, "threads must be at least 1"),
    ],
)
def test_a_slip_is_one_line_and_exit_code_2(box, changes, said):
    process = leeway("run", "--config", edge(box, **changes))
    out, complaints = process.communicate(timeout=30)
    assert process.returncode == 2
    assert out == ""
    (line,) = complaints.splitlines()
    assert line.startswith("leeway: ")
    assert said in line


def test_what_is_no_onnx_file_is_one_line(tmp_path):
    (tmp_path / "cat.onnx").write_bytes(b"\x89PNG not a model")
    process = leeway("port", tmp_path / "cat.onnx", "--repository", tmp_path / "r", env={**os.environ, "NO_COLOR": "1"})
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 2
    (line,) = complaints.splitlines()
    assert "cat.onnx" in line


def test_the_books_are_a_row_per_camera_and_one_for_the_box():
    stream = {"in": 3, "answered": 2, "dropped": {"late": 1}, "fps": 1.0, "p99_ms": None, "attainment": None}
    last = {
        "streams": {"gate": stream},
        "frames": {"in": 4, "answered": 2, "dropped": {"late": 1, "empty": 1}, "waiting": 0},
        "slo": {"attainment": 0.5},
        "latency_ms": {"p50": 1.0, "p99": 12.34},
    }
    shown = books(last)
    cells = [list(column.cells) for column in shown.columns]
    assert [list(map(str, row)) for row in zip(*cells, strict=True)] == [
        ["gate", "3", "2", "1", "-", "-", "late 1"],
        ["all", "4", "2", "2", "50.0%", "12.3", "empty 1, late 1"],
    ]
