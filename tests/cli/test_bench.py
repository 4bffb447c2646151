"""`leeway bench schedulers` as it is typed: a table, JSON, a report; and one line for a slip."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli import bench, main
from cli.comparison.tables import COLUMNS, shown
from cli.output import console
from edge.estimators.table import Table
from edge.observers.trace import Trace
from edge.systems import system
from evaluation.metrics.summary import SummaryRow
from evaluation.presets import preset
from evaluation.scenario import play
from tests.edge.daemon_builder import edge

SMALL = ["bench", "schedulers", "--load", "0.9,0.7", "--seeds", "2", "--duration", "0.5", "--workers", "1"]
TWO = [*SMALL, "--systems", "edf,fifo", "--arrivals", "poisson"]


def called(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of one command, in this process."""
    with pytest.raises(SystemExit) as ended:
        main.main(args)
    return ended.value.code or 0, *capsys.readouterr()


def test_the_table_groups_by_load_and_marks_the_best_and_the_baseline(capsys):
    code, out, err = called([*TWO, "--baseline", "fifo"], capsys)
    assert (code, err.strip()) == (0, "")
    titles = [line for line in out.splitlines() if line.startswith("poisson · load")]
    assert [title.split(" · ")[1] for title in titles] == ["load 0.7", "load 0.9"]
    assert all("at most" in title and "2 seeds" in title for title in titles)
    assert all("(preemptive relaxation)" in title for title in titles)
    heads = next(line for line in out.splitlines() if line.startswith("   system"))
    assert all(column.head in heads for column in COLUMNS if column.metric not in ("right", "attainment_min_bound"))
    assert "worst bound %" not in heads
    assert [line[:8] for line in rows_of(out)] == ["▲  edf  ", " ● fifo "] * 2
    assert out.count("▲") == 2 + 1  # and the legend
    assert out.count("●") == 2 + 1


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = called(TWO, capsys)
    assert "edf" in out
    found = rows_of(out)
    assert found


def rows_of(out: str) -> list[str]:
    return [line for line in out.splitlines() if line[3:7] in ("edf ", "fifo")]


def test_json_to_a_file_leaves_the_table_on_the_screen(tmp_path: Path, capsys):
    code, out, _ = called([*TWO, "--json", str(tmp_path / "out.json")], capsys)
    assert code == 0
    assert "▲" in out
    told = json.loads((tmp_path / "out.json").read_text())
    assert len(told["rows"]) == 2 * 2
    names = "system load arrivals goodput attainment attainment_min jain p99_ms wasted batch_mean decision_us_p99"
    assert set(f"{names} bound headroom".split()) <= set(told["rows"][0])
    assert told["complete"] is True
    assert told["rows"][0]["seeds"] == [0, 1]
    assert len(told["rows"][0]["by_seed"]["goodput"]) == 2
    assert len({scenario["digest"] for scenario in told["scenarios"]}) == 4
    assert told["estimator"] == {"use": "edge.estimators.table:Table", "margin": 1.06}
    assert [card["system"] for card in told["systems"]] == ["edf", "fifo"]


@pytest.mark.parametrize("place", [-1, 2])
def test_json_alone_prints_wherever_it_stands(place: int, capsys):
    args = [*TWO, "--estimator", "own"]
    args.insert(len(args) if place < 0 else place, "--json")
    code, out, _ = called(args, capsys)
    assert code == 0
    assert json.loads(out)["estimator"] == "own"


def test_json_is_the_same_twice_but_for_the_clock(capsys):
    once, again = (json.loads(called([*TWO, "--json"], capsys)[1]) for _ in range(2))
    for row in [*once["rows"], *again["rows"]]:
        for table in (row, row["interval"], row["by_seed"]):
            for name in [name for name in table if name.startswith("decision_us")]:
                del table[name]
    assert once == again


def test_the_report_is_one_file_that_asks_nobody(tmp_path: Path, capsys):
    pytest.importorskip("matplotlib")
    code, _, _ = called([*TWO, "--html", str(tmp_path / "out.html")], capsys)
    assert code == 0
    page = (tmp_path / "out.html").read_text()
    for title in ("Answers in time", "worst-off model", "Latency", "Batch sizes", "One second", "All numbers"):
        assert title in page
    assert "Liu and Layland" in page
    assert not [word for word in ("<script", "http://", "https://", "<link") if word in strip_namespaces(page)]


def test_the_close_bound_is_named_everywhere_and_says_how_fair_it_can_get(tmp_path: Path, capsys):
    pytest.importorskip("matplotlib")
    files = ["--json", str(tmp_path / "out.json"), "--html", str(tmp_path / "out.html")]
    code, out, err = called([*TWO, "--bound", "close", "--seeds", "1", "--duration", "0.2", *files], capsys)
    assert (code, err.strip()) == (0, "")
    assert "(Lagrangian)" in out
    assert "worst bound %" in out
    told = json.loads((tmp_path / "out.json").read_text())
    assert {row["bound_method"] for row in told["rows"]} == {"Lagrangian"}
    assert all(row["attainment_min"] <= row["attainment_min_bound"] <= 1 for row in told["rows"])
    page = (tmp_path / "out.html").read_text()
    assert "good requests/s (Lagrangian)" in page
    assert "worst bound</th>" in page


def strip_namespaces(page: str) -> str:
    return page.replace("http://www.w3.org/", "")


def test_list_tells_whose_idea_each_system_is(capsys):
    code, out, _ = called(["bench", "schedulers", "--list", "--systems", "edf,fifo"], capsys)
    assert code == 0
    assert "Liu and Layland" in out
    assert "batch_max = 8" in out
    assert "differs: " in out
    _, told, _ = called(["bench", "schedulers", "--list", "--json"], capsys)
    assert {"edf", "fifo"} <= {card["system"] for card in json.loads(told)["systems"]}


def test_a_system_that_needs_more_is_left_out_and_told(tmp_path: Path, capsys):
    needy = tmp_path / "needy.yaml"
    needy.write_text('policy: {use: "tests.evaluation.test_requirements:Needy"}')
    code, out, err = called([*SMALL, "--arrivals", "poisson", "--systems", f"edf,{needy}"], capsys)
    assert code == 0
    assert "needy needs lanes and variants: edge4 has one lane and has one variant a model" in err
    assert "edf" in out
    assert "needy" not in out


def test_nothing_left_to_compare_is_a_slip(capsys):
    code, out, err = called([*SMALL, "--systems", "superserve"], capsys)
    assert (code, out) == (2, "")
    assert err == "leeway: superserve needs variants: edge4 has one variant a model; try --preset edge4_variants\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--load", "0"], "--load: expected numbers above 0 such as 0.7,0.9,1.1; got '0'"),
        (["--load", "0.7,x"], "--load: expected numbers above 0"),
        (["--load", "nan"], "--load: expected numbers above 0"),
        (["--arrivals", "poison"], "no process is called 'poison'"),
        (["--arrivals", ","], "--arrivals: expected names"),
        (["--preset", "edge5"], "no preset is called 'edge5'; there is edge4"),
        (["--systems", "eddf"], "no system is called 'eddf'; did you mean 'edf'?"),
        (["--systems", "edf", "--baseline", "fifo"], "--baseline: 'fifo' does not take part; here: edf"),
        (["--bound", "tight"], "--bound: expected quick or close; got 'tight'"),
        (["--estimator", "guess"], "--estimator: expected own, table, or package.module:Class; got 'guess'"),
        (["--estimator", "edge.estimators.table:Chair"], "cannot be imported"),
        (["--trace", "/nowhere.csv"], "/nowhere.csv: No such file"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml: No such file"),
        (["--config", "a.yaml", "--preset", "edge4"], "name one box, not two"),
        (["--json", "/nowhere/out.json", "--systems", "edf"], "cannot be written; name a file in a folder that exists"),
    ],
)
def test_a_slip_is_one_line(args: list[str], said: str, capsys):
    code, _, err = called([*SMALL, *args], capsys)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_trace_that_nobody_would_wait_for_is_a_slip(capsys, monkeypatch):
    monkeypatch.setattr("cli.comparison.options.REQUESTS_MAX", 100)
    code, _, err = called(SMALL, capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "requests are too many; shorten --duration" in err


def test_a_policy_that_breaks_a_rule_is_one_line_and_exit_code_1(tmp_path: Path, capsys):
    bad = tmp_path / "bad.yaml"
    bad.write_text('policy: {use: "tests.evaluation.test_comparison:Stubborn"}')
    code, out, err = called([*SMALL, "--arrivals", "poisson", "--systems", f"edf,{bad}"], capsys)
    assert code == 1
    assert err.count("\n") == 1
    assert "leeway: bad: " in err
    assert "is busy" in err
    assert "edf" in out


def test_an_interruption_prints_what_there_is(capsys, monkeypatch):
    def soon(scenarios: Any, systems: Any, *more: Any) -> Any:
        yield from list(outcomes(scenarios[:1], systems, workers=1))
        raise KeyboardInterrupt

    from evaluation.comparison import outcomes

    monkeypatch.setattr("evaluation.comparison.outcomes", soon)
    code, out, err = called(TWO, capsys)
    assert code == bench.INTERRUPTED
    assert "1 seed" in out
    assert "interrupted after 2 runs" in err


def test_a_trace_file_is_replayed_as_it_is(tmp_path: Path, capsys):
    lines = [f"{1_000_000 * at},cam{at % 3},mob,50" for at in range(300)]
    (tmp_path / "drive.csv").write_text("\n".join(["arrival_ns,stream,model,slo_ms", *lines]))
    args = ["bench", "schedulers", "--trace", str(tmp_path / "drive.csv"), "--systems", "edf", "--workers", "1"]
    code, out, _ = called([*args, "--seeds", "1", "--json"], capsys)
    assert code == 0
    (scenario,) = json.loads(out)["scenarios"]
    assert (scenario["arrivals"], scenario["requests"]) == ("drive", 300)
    code, out, _ = called([*args, "--seeds", "2", "--load", "0.5"], capsys)
    assert "drive · load 0.5" in out


def test_a_box_of_ones_own_is_asked_for_the_load(box: Path, capsys):
    quick = ["--load", "0.01,0.02", "--duration", "0.2", "--seeds", "1"]  # its model takes microseconds
    args = [*TWO, "--config", str(edge(box)), *quick, "--json"]
    code, out, _ = called(args, capsys)
    assert code == 0
    told = json.loads(out)
    assert [scenario["load"] for scenario in told["scenarios"]] == [0.01, 0.02]
    assert told["scenarios"][0]["models"] == ["paint"]
    assert told["scenarios"][0]["requests"] < told["scenarios"][1]["requests"]


def test_a_recording_is_replayed_under_other_systems(tmp_path: Path, capsys):
    recording = tmp_path / "friday.jsonl"
    with Trace(recording) as trace:
        play(preset("edge4", 0.8, "gamma4", 1, 0.5), system("fifo").make_policy(), Table(), (trace,))
    args = ["bench", "schedulers", "--trace", str(recording), "--systems", "edf,fifo", "--workers", "1", "--seeds", "2"]
    code, out, _ = called([*args, "--json"], capsys)
    told = json.loads(out)
    assert code == 0
    assert [row["arrivals"] for row in told["rows"]] == ["friday", "friday"]
    assert len({scenario["digest"] for scenario in told["scenarios"]}) == 1
    code, _, err = called([*args, "--load", "0.5"], capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "a recording is replayed as it is; leave --load out" in err


def row(name: str, **numbers: float) -> SummaryRow:
    from evaluation.metrics.bootstrap import Interval
    from evaluation.metrics.summary import METRICS

    known = {metric: Interval(value, value, value) for metric, value in numbers.items()}
    return SummaryRow(name, {"load": 1.0}, (0,), {metric: known.get(metric) for metric in METRICS}, {}, {}, {})


def test_a_number_that_there_is_not_is_a_dash(capsys):
    console().print(shown([row("mute", goodput=0.0, offered_rps=10.0)], "mute"))
    out = capsys.readouterr().out
    assert "mute" in out


def test_which_trouble_is_told_does_not_depend_on_who_ended_first(capsys):
    from cli.bench import verdict
    from evaluation.metrics.outcome import RunOutcome

    troubles = [RunOutcome("mine", index, {"seed": index}, trouble=f"KeyError: {index}") for index in (2, 0, 1)]
    for ended in (troubles, troubles[::-1]):
        assert verdict(ended, whole=True) == 1
        assert capsys.readouterr().err == "leeway: mine: KeyError: 0 (seed 0)\n"
