"""report.json, report.html and the tables of a made-up run whose truth is known."""

import json
import random
import re
import sys

import pytest
from rich.console import Console

from cli.run_report.headline import hit, tiles
from cli.run_report.recording.folder import STREAMS, read_run
from cli.run_report.recording.matching import score
from cli.run_report.recording.phases import DEFINITIONS
from cli.run_report.recording.series import curve, latency, quantile, slices
from cli.run_report.samples import choose, jpeg_size
from cli.run_report.summary import summarize
from cli.run_report.terminal import report_table
from cli.run_report.write import report_of, write_images, write_report
from porting.errors import UserError
from tests.cli.run_report.run_folder import CHANCES, write_lines, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("adapting"))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("frozen"), frozen=True, pictures=False)


@pytest.fixture(scope="module")
def report(folder):
    return write_report(folder)


def text_of(renderable, width=80):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_it_holds_what_was_promised(report):
    assert {"in", "answered", "dropped", "dropped_total"} <= report["frames"].keys()
    assert {"p50", "p99"} <= report["latency_ms"].keys()
    assert {"inference", "training", "labelling", "idle"} <= report["time_share"].keys()
    for model in ("detector", "vehicles", "persons"):
        assert report["models"][model]["accuracy"].keys() == {"before", "drifted", "after"}
        assert {"alarms", "audits", "promotions", "rollbacks"} <= report["models"][model].keys()
    assert report["definitions"][:-1] == list(DEFINITIONS)
    assert "came from the teacher model" in report["definitions"][-1]
    assert (report["seed"], report["settings"]["slo_ms"]) == (7, 100)


def test_frames_add_up_in_all_and_in_each_stream(report):
    for counts in (report["frames"], *report["frames"]["streams"].values()):
        assert counts["in"] == counts["answered"] + sum(counts["dropped"].values())
    frames = report["frames"]
    assert frames["dropped_total"] == sum(frames["dropped"].values()) > 0
    assert frames["in"] == frames["published"] == sum(s["in"] for s in frames["streams"].values())


@pytest.mark.parametrize("model", sorted(CHANCES))
def test_the_truth_that_went_in_comes_out(report, model):
    """The made-up answers are right with known chances; a model that was not repaired stays where it fell."""
    accuracy, interval = report["models"][model]["accuracy"], report["models"][model]["interval"]
    before, drifted, repaired = CHANCES[model]
    for phase, chance in (("before", before), ("drifted", drifted), ("after", repaired)):
        if model == "persons" and phase != "before":
            continue  # repaired in passing, in the middle of its own phases
        assert accuracy[phase] == pytest.approx(chance, abs=0.05)
        assert interval[phase][0] <= accuracy[phase] <= interval[phase][1]


def test_what_was_lost_and_regained(report):
    vehicles = report["models"]["vehicles"]
    accuracy = vehicles["accuracy"]
    share = (accuracy["after"] - accuracy["drifted"]) / (accuracy["before"] - accuracy["drifted"])
    assert vehicles["regained_share"] == pytest.approx(share, abs=1e-3)
    assert vehicles["regained_share_interval"][0] > 0.6
    assert (vehicles["detection_delay_s"], vehicles["repair_delay_s"]) == (3.2, 16.0)
    assert vehicles["phases_s"]["after"] == [47.0, 90.0]
    assert hit(report) == "vehicles"
    assert report["models"]["detector"]["regained_share"] is None


def test_every_dropped_frame_is_a_miss(report):
    slo, frames = report["slo"], report["frames"]
    assert slo["attainment"] == pytest.approx(slo["met"] / frames["in"], abs=1e-4)
    assert slo["attainment"] < slo["attainment_of_answered"]


def test_the_larger_of_journal_and_counters_is_told(tmp_path):
    write_run(tmp_path, pictures=False)
    (tmp_path / "events.jsonl").unlink()
    told = report_of(tmp_path)
    assert told["models"]["vehicles"]["promotions"] == 1
    assert "events.jsonl: nothing in it" in told["notes"]


def test_frozen_regains_nothing_and_the_headline_says_so(frozen):
    told = report_of(frozen)
    assert told["models"]["vehicles"]["regained_share"] < 0.2
    assert told["headline"].startswith("Frozen: under night, vehicles fell from")
    assert [tile.verdict for tile in tiles(told) if tile.name.startswith("vehicles")] == ["plain"]


def test_tiles_judge_what_has_a_goal(report):
    verdicts = {tile.name: tile.verdict for tile in tiles(report)}
    assert verdicts["answered in time"] == verdicts["vehicles: regained"] == "good"
    assert verdicts["frames"] == "plain"
    worse = {**report, "slo": {**report["slo"], "attainment": 0.9}}
    assert tiles(worse)[0].verdict == "bad"


# ---- the page ------------------------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_asks_nobody(folder, report):
    html = (folder / "report.html").read_text()
    outside = [a for a in re.findall(r'(?:src|href)="([^"]*)"', html) if not a.startswith(("#", "data:"))]
    assert outside == []
    assert not re.search(r"url\((?!#)|@import|<script", html)
    assert "prefers-color-scheme:dark" in html
    assert 'name="viewport"' in html
    assert json.loads((folder / "report.json").read_text()) == report


def test_the_page_shows_every_part(folder, report):
    html = (folder / "report.html").read_text()
    for words in (
        "Accuracy over time",
        "Latency against the SLO",
        "Journal",
        "Sample frames",
        "Definitions",
        "Settings",
    ):
        assert words in html
    assert html.count("<figure>") == 9
    assert html.count('class="kind promotion"') == 1
    assert "≠" in html
    assert html.count("var(--promotion)") > 2  # the mark in the picture follows the theme


def test_ids_that_pictures_refer_to_exist_once(folder, report):
    html = (folder / "report.html").read_text()
    wanted = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', html))
    for one, other in wanted:
        assert html.count(f'id="{one or other}"') == 1


def test_equal_runs_make_equal_pages(tmp_path):
    pages = []
    for name in ("one", "two"):
        write_report(write_run(tmp_path / name, duration_s=12))
        pages.append((tmp_path / name / "report.html").read_bytes())
    assert pages[0] == pages[1]


def test_words_of_a_run_are_escaped(tmp_path):
    write_run(tmp_path, duration_s=9, pictures=False, drift="<b>night & fog")
    write_report(tmp_path)
    assert "<b>night" not in (tmp_path / "report.html").read_text()


def cut_out(folder, *names):
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize(
    "missing",
    [*((f"{name}.jsonl",) for name in STREAMS), tuple(f"{name}.jsonl" for name in STREAMS)],
    ids=lambda names: "+".join(name.split(".")[0] for name in names),
)
def test_a_run_that_broke_off_still_gets_a_page(tmp_path, missing):
    write_run(tmp_path, duration_s=12)
    cut_out(tmp_path, *missing)
    told = write_report(tmp_path)
    assert all(f"{name}: nothing in it" in told["notes"] for name in missing)
    assert told["frames"]["in"] == told["frames"]["answered"] + told["frames"]["dropped_total"]
    html = (tmp_path / "report.html").read_text()
    assert ("no data" in html) == (missing != ("events.jsonl",))
    assert "nan" not in html.lower().split("<svg")[0]
    text_of(report_table(told))


RUBBISH = [None, True, -1, 3.5, 1e308, float("nan"), "x", "", [], [1], {}, {"a": None}, [["b"]]]


def spoilt(value, dice):
    """The same message with some of its parts replaced by rubbish."""
    if dice.random() < 0.08:
        return dice.choice(RUBBISH)
    if isinstance(value, dict):
        return {key: spoilt(part, dice) for key, part in value.items()}
    return [spoilt(part, dice) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(40))
def test_rubbish_in_any_field_is_no_traceback(tmp_path, seed):
    dice = random.Random(seed)
    write_run(tmp_path, duration_s=4, fps=2, pictures=False)
    for name in STREAMS:
        lines = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        write_lines(tmp_path / f"{name}.jsonl", [spoilt(line, dice) for line in lines])
    settings = json.loads((tmp_path / "demo.json").read_text())
    (tmp_path / "demo.json").write_text(json.dumps({key: spoilt(value, dice) for key, value in settings.items()}))
    told = write_report(tmp_path) if seed % 10 == 0 else report_of(tmp_path)
    assert told["frames"]["in"] == told["frames"]["answered"] + told["frames"]["dropped_total"]
    text_of(report_table(told))


def test_no_answer_at_all_is_said_plainly(tmp_path):
    write_run(tmp_path, duration_s=9, pictures=False)
    cut_out(tmp_path, "results.jsonl", "stats.jsonl")
    told = report_of(tmp_path)
    assert told["headline"] == "No frame was answered: there is nothing to judge."
    assert told["frames"]["dropped"] == {"unseen": told["frames"]["published"]}
    assert (told["slo"]["attainment"], told["latency_ms"]["p99"]) == (0.0, None)


def test_a_run_without_drift_has_one_phase(tmp_path):
    told = write_report(write_run(tmp_path, duration_s=12, drift=None, pictures=False))
    assert told["models"]["vehicles"]["accuracy"]["drifted"] is None
    assert told["headline"].startswith("No model lost accuracy")


def test_a_torn_picture_is_left_out(tmp_path):
    write_run(tmp_path, duration_s=12)
    for file in (tmp_path / "frames").iterdir():
        file.write_bytes(file.read_bytes()[:12])
    write_report(tmp_path)
    assert "<figure>" not in (tmp_path / "report.html").read_text()


def test_plain_images_are_shown_without_boxes(tmp_path):
    write_run(tmp_path, duration_s=12, detector=None, classify={"cifar": "cifar"})
    for name, labels in (("results", ("cat", "dog", "cat")), ("truth", ("cat", "cat", "cat"))):
        lines = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        thing = [[{"kind": "cifar", "label": labels[m["seq"] % 3]}] for m in lines]
        write_lines(tmp_path / f"{name}.jsonl", [{**m, "objects": t} for m, t in zip(lines, thing, strict=True)])
    told = write_report(tmp_path)
    assert told["models"]["cifar"]["accuracy"]["before"] == pytest.approx(2 / 3, abs=0.06)
    assert '<span class="right">cat ✓</span>' in (tmp_path / "report.html").read_text()


def test_without_the_extra_the_figures_are_there_and_the_message_names_it(tmp_path, monkeypatch):
    write_run(tmp_path, duration_s=9, pictures=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"extra `demo`.*pip install matplotlib"):
        write_report(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["frames"]["in"] > 0
    assert not (tmp_path / "report.html").exists()


def test_images_for_a_readme(folder, frozen, tmp_path):
    files = write_images(folder, tmp_path / "images", beside=frozen)
    assert [file.name for file in files] == ["report-accuracy.png", "report-latency.png", "report-frames.png"]
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in files)


# ---- the tables ----------------------------------------------------------------------------------------------------


def test_the_table_says_the_same_in_short(report):
    text = text_of(report_table(report))
    vehicles = report["models"]["vehicles"]
    assert re.search(rf"vehicles +{100 * vehicles['accuracy']['before']:.1f} %", text)
    assert "vehicles: 1 alarm, 1 audit, 1 promotion" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


# ---- series --------------------------------------------------------------------------------------------------------


def test_shares_between_two_messages_are_the_difference_of_the_totals(folder):
    parts = {round(part.end_s): part.shares for part in slices(read_run(folder))}
    assert parts[40]["training"] == pytest.approx(0.25, abs=0.01)
    assert parts[20]["training"] == parts[80]["training"] == pytest.approx(0.0, abs=1e-9)
    assert all(sum(shares.values()) == pytest.approx(1.0) for shares in parts.values())


def test_a_curve_does_not_reach_over_a_cut(folder):
    run = read_run(folder)
    mine = [t for t in score(run).tallies if t.model == "vehicles"]
    cut = dict(curve(mine, 90.0, cuts_s=[30.0, 46.0]))
    smooth = dict(curve(mine, 90.0))
    assert cut[29.0].value > 0.85
    assert cut[31.0].value < 0.65
    assert 0.6 < smooth[30.0].value < 0.85


def test_quantiles_are_values_that_were_seen():
    assert quantile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert quantile(list(range(1, 101)), 0.99) == 99
    assert quantile([], 0.5) is None
    assert latency([]) == []


def test_sample_frames_take_cameras_in_turn():
    keys = [("a", i) for i in range(5)] + [("b", 0)]
    assert choose(keys, {key: (1, -key[1]) for key in keys}) == [("a", 0), ("a", 1), ("b", 0)]


def test_a_jpeg_tells_its_size(folder):
    assert jpeg_size(next((folder / "frames").iterdir()).read_bytes()) == (320, 240)
    assert jpeg_size(b"\xff\xd8\xff") is None
    assert jpeg_size(b"GIF89a") is None


def test_summarize_reads_nothing_but_its_arguments(folder):
    run = read_run(folder)
    assert summarize(run, score(run)) == report_of(folder)
