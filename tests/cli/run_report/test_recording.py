"""Scoring against the truth: hand-made frames with known answers, and what must hold for any boxes."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.run_report.recording.folder import RunFolder, read_run
from cli.run_report.recording.intervals import accuracy, wilson
from cli.run_report.recording.matching import Tally, iou, pair_up, score
from cli.run_report.recording.phases import Spans, measure, regained, spans
from porting.errors import UserError
from tests.cli.run_report.run_folder import START, result_of, truth_of, write_run

CAR = {"kind": "vehicle", "label": "car", "box": [10, 10, 50, 40]}
BUS = {"kind": "vehicle", "label": "bus", "box": [100, 10, 160, 50]}
MAN = {"kind": "person", "label": "walking", "box": [200, 20, 214, 60]}


def run_of(*frames: tuple[list[dict[str, Any]], list[dict[str, Any]]], **settings: Any) -> RunFolder:
    """A run in memory: what was said and what was true, frame by frame."""
    table = {
        "start_time": START,
        "duration": 90,
        "classify": {"vehicle": "vehicles"},
        "detector": "detector",
        **settings,
    }
    return RunFolder(
        path=Path("/nowhere"),
        settings=table,
        results=tuple(result_of("gate-0", i, i / 5, said) for i, (said, _) in enumerate(frames)),
        truth=tuple(truth_of("gate-0", i, i / 5, "day", true) for i, (_, true) in enumerate(frames)),
    )


def sums(run: RunFolder, model: str) -> tuple[int, int]:
    mine = [t for t in score(run).tallies if t.model == model]
    return sum(t.right for t in mine), sum(t.of for t in mine)


@pytest.mark.parametrize(
    ("said", "true", "detector", "vehicles"),
    [
        ([CAR, BUS], [CAR, BUS], (4, 4), (2, 2)),
        ([{**CAR, "label": "van"}, BUS], [CAR, BUS], (4, 4), (1, 2)),
        ([CAR], [CAR, BUS], (2, 3), (1, 1)),  # a missed one costs the detector alone
        ([CAR, BUS], [CAR], (2, 3), (1, 1)),  # so does a false one
        ([{**CAR, "box": [300, 200, 310, 210]}], [CAR], (0, 2), (0, 0)),
        ([{**CAR, "kind": "person"}], [CAR], (0, 2), (0, 0)),  # another kind is another thing
        ([{"kind": "vehicle", "box": CAR["box"]}], [CAR], (2, 2), (0, 1)),  # found, but without a label
        ([MAN], [MAN], (2, 2), (0, 0)),  # nobody labels persons here
        ([CAR, CAR], [CAR], (2, 3), (1, 1)),  # one truth, one partner
        ([], [], (0, 0), (0, 0)),
    ],
)
def test_a_frame_counts(said, true, detector, vehicles):
    run = run_of((said, true))
    assert sums(run, "detector") == detector
    assert sums(run, "vehicles") == vehicles


def test_frames_meet_by_camera_and_number_not_by_time():
    run = run_of(([CAR], [CAR]), ([BUS], [BUS]))
    late = tuple({**r, "at": r["at"] + 40, "frame_time": r["frame_time"] - 7} for r in reversed(run.results))
    assert sums(RunFolder(run.path, run.settings, late, run.truth), "vehicles") == (2, 2)


def test_a_result_that_came_twice_counts_once_and_one_without_truth_not_at_all():
    run = run_of(([CAR], [CAR]))
    stray = result_of("gate-9", 0, 0.0, [CAR])
    judged = score(RunFolder(run.path, run.settings, (*run.results, *run.results, stray), run.truth))
    assert (judged.frames, judged.repeated, judged.without_truth) == (1, 1, 1)
    assert [t.right for t in judged.tallies if t.model == "vehicles"] == [1]


def test_an_app_without_the_detector_is_not_blamed_for_what_it_never_looked_for():
    run = run_of(([CAR], [CAR, BUS]))
    alone = ({**run.results[0], "models": {"vehicles": "fp32"}},)
    assert {t.model for t in score(RunFolder(run.path, run.settings, alone, run.truth)).tallies} == {"vehicles"}


def test_plain_classification_compares_labels():
    said, true = {"kind": "cifar", "label": "cat", "score": 0.9}, {"kind": "image", "label": "cat"}
    run = run_of(([said], [true]), ([said], [{**true, "label": "dog"}]), classify={"cifar": "cifar"}, detector=None)
    assert sums(run, "cifar") == (1, 2)
    assert {t.model for t in score(run).tallies} == {"cifar"}


def test_the_better_overlap_wins_whoever_comes_first():
    shifted = {**CAR, "box": [14, 10, 54, 40]}
    pairs = pair_up([shifted, CAR], [CAR])
    assert [p.true is not None for p in pairs] == [False, True]


boxes = st.tuples(*[st.integers(0, 60)] * 4).map(
    lambda b: [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]
)
things = st.lists(st.builds(lambda k, b: {"kind": k, "label": "x", "box": b}, st.sampled_from("vp"), boxes), max_size=6)


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(a, b):
    assert iou(a, b) == iou(b, a)
    assert 0.0 <= iou(a, b) <= 1.0
    if a[0] < a[2] and a[1] < a[3]:
        assert iou(a, a) == 1.0


@given(things, things)
def test_every_object_is_in_exactly_one_pair_and_kinds_agree(said, true):
    pairs = pair_up(said, true)
    assert sum(p.said is not None for p in pairs) == len(said)
    assert sum(p.true is not None for p in pairs) == len(true)
    assert all(p.said["kind"] == p.true["kind"] for p in pairs if p.said is not None and p.true is not None)


# ---- intervals -----------------------------------------------------------------------------------------------------


def tallies(per_block: list[tuple[int, int]]) -> list[Tally]:
    return [Tally("m", "gate-0", 3.0 * i + 1, right, of) for i, (right, of) in enumerate(per_block)]


def test_wilson_agrees_with_the_textbook():
    low, high = wilson(0.5, 100, 1.96)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)


def test_blocks_that_differ_make_a_wider_interval_than_blocks_that_agree():
    even = accuracy(tallies([(8, 10)] * 10))
    uneven = accuracy(tallies([(10, 10), (6, 10)] * 5))
    assert even.value == uneven.value == 0.8
    assert even.high - even.low < uneven.high - uneven.low


def test_a_frame_repeated_in_its_block_adds_no_certainty():
    once, often = accuracy(tallies([(1, 2), (2, 2), (1, 2), (2, 2)])), accuracy(tallies([(50, 100), (100, 100)] * 2))
    assert often.high - often.low > 0.8 * (once.high - once.low)


@given(
    st.lists(st.integers(1, 30).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))), min_size=2, max_size=20)
)
def test_an_interval_holds_its_value_and_stays_a_share(per_block):
    found = accuracy(tallies(per_block))
    assert 0.0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1.0
    assert math.isclose(found.value, sum(r for r, _ in per_block) / sum(n for _, n in per_block))


def test_nothing_counted_is_no_accuracy_and_one_block_has_no_interval():
    assert accuracy([]).value is None
    one = accuracy(tallies([(3, 4)]))
    assert (one.value, one.low, one.high) == (0.75, None, None)


# ---- phases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drift", "promotions", "expected"),
    [
        (30.0, [], Spans((0, 30), (30, 60), (60, 90))),
        (30.0, [46.0], Spans((0, 30), (30, 46), (47, 90))),
        (30.0, [46.0, 70.0], Spans((0, 30), (30, 46), (71, 90))),
        (30.0, [12.0], Spans((0, 30), (30, 60), (60, 90))),  # a promotion before the drift repairs nothing
        (70.0, [], Spans((0, 70), (70, 90), None)),
        (None, [46.0], Spans((0, 90), None, None)),
    ],
)
def test_phases(drift, promotions, expected):
    assert spans(90.0, drift, promotions) == expected


def test_regained_is_a_share_of_the_loss_and_none_of_no_loss():
    parts = Spans((0, 30), (30, 60), (60, 90))

    def phases(*rights: int) -> list[Tally]:
        return [Tally("m", "c", s, rights[s // 30] + (s % 2), 10) for s in range(90)]

    hurt = regained(measure(phases(9, 5, 8), parts))
    assert hurt.share == pytest.approx(0.75)
    assert hurt.low < 0.75 < hurt.high
    unhurt = regained(measure(phases(9, 9, 8), parts))
    assert unhurt.share is None
    assert unhurt.points == pytest.approx(-0.1)


# ---- a whole folder ------------------------------------------------------------------------------------------------


def test_a_folder_is_scored_in_well_under_a_second(tmp_path):
    run = read_run(write_run(tmp_path, pictures=False))
    began = time.process_time()
    assert score(run).frames == len(run.results) > 1700
    assert time.process_time() - began < 2.0  # measured: 0.09 s; only a change of order fails


def test_a_half_written_last_line_and_rubbish_are_left_out_and_told(tmp_path):
    write_run(tmp_path, duration_s=9, pictures=False)
    whole = len(read_run(tmp_path).results)
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'[1]\n\xff\xfe\n{"camera": "gate-0", "se')
    run = read_run(tmp_path)
    assert len(run.results) == whole
    assert run.notes == ("results.jsonl: 3 unreadable lines left out",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no demo.json"), ("{", "cannot be read as JSON"), ("[]", "holds list, expected an object")],
)
def test_what_is_no_run_folder_is_one_line(tmp_path, content, complaint):
    if content is not None:
        (tmp_path / "demo.json").write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_settings_of_a_strange_kind_are_taken_as_missing(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"start_time": "noon", "duration": None, "classify": 3}))
    run = read_run(tmp_path)
    assert (run.start, run.duration_s, run.drift_s, score(run).tallies) == (0.0, 0.0, None, ())
