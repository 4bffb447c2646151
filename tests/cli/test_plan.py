"""`leeway plan` as it is typed: a table that fits, JSON, exit codes; and one line for a slip."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli import main
from evaluation.capacity.dry_run import load
from tests.edge.daemon_builder import edge, jpeg
from tests.evaluation.capacity.plan_builder import COLOUR, ITEM_MS, tried

QUICK = ["--duration", "5", "--no-changes"]


def called(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of one command, in this process."""
    with pytest.raises(SystemExit) as ended:
        main.main(["plan", *args])
    return ended.value.code or 0, *capsys.readouterr()  # type: ignore[return-value]


@pytest.fixture
def known(box: Path) -> list[str]:
    """Options that name a config, and a box that serves 100 frames a second: 20 cameras of 5."""
    path = edge(box, apps={"colour": COLOUR}, streams={"*": {"apps": ["colour"], "waiting_max": 1}})
    tried(box, {"paint": ITEM_MS}).save(box / "box.json")
    return ["-c", str(path), "--device", str(box / "box.json")]


def test_a_range_is_searched(known, capsys):
    code, out, err = called([*known, *QUICK, "--cameras", "4..64"], capsys)
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()[:4]
    assert head.split() == ["cameras", "load", "in", "time", "worst", "p50", "ms", "p99", "ms", "busy", "first", "miss"]
    numbers = [int(row.split()[0]) for row in rows]
    best = numbers[0]
    assert numbers == [best, best + 1, round(1.3 * best)]
    assert 17 <= best <= 20
    assert rows[0].rstrip().endswith("none")
    assert f"{best} cameras at 5 frames a second hold their SLOs: 99% of each camera's frames in time" in out
    assert "\nheadroom: " in out
    assert "tried: 100 frames in 10 s" in out
    assert "what would" not in out


def test_one_number_holds_or_does_not(known, capsys):
    code, out, _ = called([*known, *QUICK, "--cameras", "8"], capsys)
    assert code == 0
    assert "8 cameras at 5 frames a second hold their SLOs" in out
    assert "headroom: 1" in out  # more than twice as often
    assert "would hold at 1" in out
    code, out, _ = called([*known, *QUICK, "--cameras", "30"], capsys)
    assert code == 1
    assert "30 cameras at 5 frames a second: too much for 99% of each camera's frames in time" in out
    assert "headroom: none; 30 cameras would hold at 3." in out


def test_not_even_the_least(known, capsys):
    code, out, _ = called([*known, *QUICK, "--cameras", "40..60"], capsys)
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()[1:2]] == ["40"]
    assert "40 cameras at 5 frames a second: too much" in out


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(width, known, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = called([*known, *QUICK, "--cameras", "30"], capsys)
    table = out.split("\n\n")[0].splitlines()
    assert len(table) == 1 + 4  # no cell is broken
    assert all(len(line) <= width for line in table)


def test_what_would_help_is_sorted_by_how_much(known, capsys):
    code, out, _ = called([*known, "--duration", "3", "--cameras", "4..40", "--json"], capsys)
    value = json.loads(out)
    assert code == 0
    assert value["asked"] == [4, 40]
    assert value["holds"] is True
    assert value["cameras"] == value["tried"][0]["cameras"]
    assert value["tried"][0]["worst_attainment"] >= value["share"] == 0.99
    assert value["headroom"]["cameras"] == value["cameras"]
    assert value["rehearsed"] == {"frames": 100, "seconds": 10.0, "finds": {}}
    more = [each["more"] for each in value["changes"]]
    assert more == sorted(more, reverse=True)
    assert value["changes"][0]["words"] == "a second device like each one"


def test_the_box_is_tried_and_kept(box: Path, tmp_path: Path, capsys):
    shots = tmp_path / "shots"
    shots.mkdir()
    (shots / "one.jpg").write_bytes(jpeg("red"))
    kept = tmp_path / "kept.json"
    args = ["-c", str(edge(box)), "--source", str(shots), "--seconds", "2", "--cameras", "1..2"]
    code, out, _ = called([*args, *QUICK, "--save", str(kept)], capsys)
    assert code == 0
    assert "2 cameras at 5 frames a second hold their SLOs" in out
    assert "most: not found out, more were not asked for" in out
    assert load(kept).frames > 20


def test_a_profile_is_not_the_whole_truth(box: Path, capsys):
    code, out, _ = called(["-c", str(edge(box)), "--device", "cpu", "--cameras", "1", *QUICK], capsys)
    assert code == 0
    assert "1 camera at 5 frames a second holds its SLOs" in out
    assert "not tried: profiles know the graphs alone" in out


def test_another_system_can_be_tried(known, capsys):
    _, out, _ = called([*known, *QUICK, "--cameras", "30", "--system", "fifo", "--json"], capsys)
    fifo = json.loads(out)["tried"][-1]["attainment"]
    _, out, _ = called([*known, *QUICK, "--cameras", "30", "--json"], capsys)
    assert fifo < json.loads(out)["tried"][-1]["attainment"]


NAMED = {"streams": {"north": {"apps": ["colour"]}, "south": {"apps": ["colour"]}}}
BOTH = {"streams": {"*": {"apps": ["colour"]}, "north": {"apps": ["colour"]}, "south": {"apps": ["colour"]}}}


@pytest.mark.parametrize(
    ("changes", "args", "said"),
    [
        ({}, ["--cameras", "0"], "--cameras 0: from 1 up to 10000, the smaller number first"),
        ({}, ["--cameras", "9..4"], "--cameras 9..4: from 1 up to 10000"),
        ({}, ["--cameras", "many"], "--cameras many: write a number, or a range such as 4..64"),
        ({}, ["--device", "nosuch"], "paint/fp32: not measured on 'nosuch'; measured on: cpu"),
        ({}, ["--device", "nosuch.json"], "give a file that `leeway plan --save` wrote"),
        ({}, ["--device", "cpu", "--save", "x.json"], "--save keeps what was tried here; with --device cpu nothing is"),
        ({}, ["--save", "nowhere/x.json"], "--save nowhere/x.json: name a .json file in a folder that is there"),
        ({}, ["--save", "x.txt"], "name a .json file"),
        ({}, ["--source", "nosuch"], "nosuch: no such file or folder"),
        ({}, ["--system", "lewey"], "no system is called 'lewey'; did you mean"),
        ({}, ["--system", "infaas", "--device", "cpu"], "infaas needs variants"),
        ({}, ["--device", "cpu", "--arrivals", "never"], "arrivals: no process is called 'never'"),
        ({"models": "elsewhere"}, [], "model 'paint' serves nothing; port it"),
        ({"devices": {"gpu0": {"use": "devices.nosuch:Gpu"}}}, [], "'devices.nosuch:Gpu' cannot be imported"),
        ({"devices": {"cpu0": {"use": "devices.cpu:Cpu", "cores": [999]}}}, [], "cores [999]: this process may use"),
        ({"apps": {"colour": {**COLOUR, "slo_ms": 1e-4}}}, ["--device", "cpu"], "no policy can keep it"),
        (NAMED, ["--cameras", "3"], "names 2, and has no `*` in `streams` for others"),
        (BOTH, ["--cameras", "1"], "names 2 itself; ask for these or more"),
    ],
)
def test_a_slip_is_one_line(changes: dict[str, Any], args: list[str], said: str, box: Path, capsys, monkeypatch):
    monkeypatch.chdir(box)
    code, out, err = called(["-c", str(edge(box, **changes)), *args], capsys)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


def test_cameras_that_have_names_need_no_number(box: Path, capsys):
    path = edge(box, apps={"colour": COLOUR}, **NAMED)
    tried(box, {"paint": ITEM_MS}).save(box / "box.json")
    code, out, _ = called(["-c", str(path), "--device", str(box / "box.json"), *QUICK], capsys)
    assert code == 0
    _, row, empty, *_ = out.splitlines()
    assert (row.split()[0], empty) == ("2", "")
    assert "2 cameras at 5 frames a second hold their SLOs" in out


def test_help_fits_and_shows_how(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = called(["--help"], capsys)
    assert code == 0
    assert "leeway plan --device orin.json --cameras 8    at your desk" in out
    assert all(len(line) <= 80 for line in out.splitlines())
