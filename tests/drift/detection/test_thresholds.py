"""False alarms stay at the stated rate on correlated answers, and drifts are caught."""

import numpy as np
import pytest
from scipy.stats import poisson

from benchmarks.drift_alarms import Answers, alarms, guarded, world
from drift.detection.thresholds import (
    CalibratedDetector,
    Channel,
    ReferenceWorld,
    calibrate,
    rate_per_test,
    threshold,
)
from drift.settings import DriftSettings

STATED = 48.0  # false alarms per day


def test_threshold_within_the_data_is_the_quantile():
    scores = np.arange(1000.0)
    assert threshold(scores, 0.05) == pytest.approx(950, abs=1)


def test_threshold_beyond_the_data_is_on_the_safe_side_of_a_light_tail():
    rng = np.random.default_rng(0)
    for rate in (1e-4, 1e-6):
        limits = [threshold(np.abs(rng.normal(size=600)), rate) for _ in range(50)]
        true = {1e-4: 3.89, 1e-6: 4.89}[rate]  # two-sided normal quantiles
        assert np.mean(np.asarray(limits) >= true) > 0.9
        assert np.median(limits) < 2 * true


def test_threshold_of_scores_whose_upper_tenth_never_varies():
    assert threshold(np.zeros(100), 1e-6) == pytest.approx(1e-9)
    assert threshold(np.repeat([0.0, 5.0], 50), 1e-6) == 5 + 1e-9
    assert threshold(np.array([3.0]), 1e-6) == 3 + 1e-9


def test_rate_is_shared_by_all_channels():
    assert rate_per_test(1.0, channels=30, tests_per_day=86_400) == pytest.approx(1 / (30 * 86_400))


def test_no_more_false_alarms_than_stated_in_two_half_hours():
    """The long run is in benchmarks/drift.py; this one would see a rate several times the stated one."""
    settings = DriftSettings(false_alarms_per_day=STATED, stride_ms=800, test_s=4, bootstrap_draws=300)
    found = [
        len(alarms(guarded(settings, world(240, seed, stride_s=0.8)), settings, 1800, seed + 10)) for seed in (0, 1)
    ]
    assert sum(found) <= poisson.ppf(0.99, STATED / 24)


@pytest.mark.parametrize("seed", range(3))
def test_a_drift_is_caught_within_seconds(seed):
    settings = DriftSettings(false_alarms_per_day=1.0)
    watch = guarded(settings, world(120, seed))
    found = alarms(watch, settings, 40, seed, make=lambda rng, stream: Answers(rng, shift=3.5), stop_at_first=True)
    assert found
    assert found[0].kind == "covariate"
    assert found[0].since_ns < found[0].at_ns


def test_a_change_of_the_class_mix_is_told_from_other_drifts():
    settings = DriftSettings(false_alarms_per_day=24.0)
    mix = np.array([0.85, 0.15, 0, 0, 0])
    watch = guarded(settings, world(120, 0))
    found = alarms(watch, settings, 60, 0, make=lambda rng, stream: Answers(rng, mix=mix), stop_at_first=True)
    assert [alarm.kind for alarm in found] == ["prior"]


# ---- what a calibration draws ----------------------------------------------------------------------------------------

STREAMS, ROWS, WINDOW = 8, 64, 16


class Recorder:
    """A window test that writes down which rows it was given: the first probability of a row is its number."""

    name = "recorder"

    def __init__(self, reference, halves):
        self.windows = []
        halves.append((rows_of(reference), self.windows))

    def score(self, probs):
        self.windows.append(rows_of(probs))
        return float(len(self.windows))


def rows_of(probs):
    return (probs[:, 0] * 1e4).round().astype(int)


def numbered_world(streams=STREAMS, rows=ROWS):
    """Rows of equal streams one after the other; each row tells its number."""
    number = np.arange(streams * rows)
    probs = np.stack([number / 1e4, 1 - number / 1e4], axis=1)
    return ReferenceWorld(probs, number // rows, number % rows)


def drawn(channel, draws=240, rate=0.1, **shape):
    """The detector, and for each random halving of the world: the reference's rows and the windows scored with it."""
    halves = []
    slices = calibrate(
        numbered_world(**shape),
        [lambda probs: Recorder(probs, halves)],
        [channel],
        rate,
        np.random.default_rng(0),
        draws,
    )
    detector = finished(slices)
    return detector, halves[1:]  # the first is fitted to the whole world, and scores what is served


def finished(slices):
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            return stop.value


def test_a_window_is_scored_against_the_half_of_the_world_that_it_is_not_from():
    """Seen rows look familiar: a reference that holds the windows would promise too low a threshold."""
    _, halves = drawn(Channel("pooled", WINDOW, STREAMS))
    assert len(halves) == 10  # every 24 windows
    for reference, windows in halves:
        assert len(reference) == STREAMS * ROWS / 2
        assert len(windows) == 24
        assert not set(reference) & set(np.concatenate(windows))
    assert set(np.concatenate([reference for reference, _ in halves])) == set(range(STREAMS * ROWS))


def test_an_odd_chunk_is_in_both_halves():
    _, halves = drawn(Channel("stream", 64), streams=3)
    for reference, windows in halves:
        fitted, scored = (set(rows // ROWS) for rows in (reference, np.concatenate(windows)))
        assert fitted | scored == {0, 1, 2}
        assert (len(fitted), len(scored)) == (2, 2)


def test_half_of_the_windows_of_a_stream_keep_to_one_stream():
    """Streams differ: windows that always mix them would hide by how much."""
    alone = {}
    for channel in (Channel("stream", WINDOW), Channel("pooled", WINDOW, STREAMS)):
        _, halves = drawn(channel)
        windows = [window for _, windows in halves for window in windows]
        alone[channel.name] = np.mean([len(set(window // ROWS)) == 1 for window in windows])
    by_chance = 1 / STREAMS  # two pieces from the same stream
    assert alone["stream"] == pytest.approx(0.5 + 0.5 * by_chance, abs=0.08)
    assert alone["pooled"] < 0.01


@pytest.mark.parametrize(("streams", "piece"), [(1, 8), (4, 4), (32, 1)])
def test_a_window_is_made_of_pieces_of_neighbours(streams, piece):
    """The dependence between neighbours stays; of every stream that a pooled window covers there is a piece."""
    _, halves = drawn(Channel("any", WINDOW, streams), draws=24)
    for window in halves[0][1]:
        assert len(window) == WINDOW
        pieces = window.reshape(-1, piece)
        assert (np.diff(pieces, axis=1) == 1).all()
        assert (pieces[:, 0] // ROWS == pieces[:, -1] // ROWS).all()
        assert np.mean(pieces[1:, 0] == pieces[:-1, -1] + 1) < 0.5  # and no piece is longer


def test_a_piece_may_begin_wherever_it_fits_into_its_chunk():
    """Chunks of 16 rows, pieces of 8."""
    _, halves = drawn(Channel("stream", WINDOW))
    begins = {int(piece[0]) % WINDOW for _, windows in halves for window in windows for piece in window.reshape(-1, 8)}
    assert begins == set(range(9))


def test_a_chunk_shorter_than_a_piece_is_taken_whole():
    _, halves = drawn(Channel("stream", WINDOW), rows=4)
    for window in (window for _, windows in halves for window in windows):
        assert (window.reshape(-1, 4) % 4 == range(4)).all()


@pytest.mark.parametrize("size", [1, 15])
def test_a_window_has_its_size_although_no_pieces_add_up_to_it(size):
    _, halves = drawn(Channel("stream", size), draws=48)
    assert {len(window) for _, windows in halves for window in windows} == {size}


def test_the_streams_of_a_world_may_take_turns():
    """Two streams, a chunk each: what is scored is of one stream, and the reference of the other."""
    world = numbered_world(streams=2)
    world = ReferenceWorld(world.answers, np.arange(len(world)) % 2, world.block)
    halves = []
    make = [lambda probs: Recorder(probs, halves)]
    finished(calibrate(world, make, [Channel("stream", ROWS)], 0.1, np.random.default_rng(0), 48))
    for reference, windows in halves[1:]:
        assert len(set(reference % 2)) == 1
        assert set(np.concatenate(windows) % 2) == {1 - reference[0] % 2}


def test_a_calibration_gives_way_every_few_windows():
    """It runs beside frames: between two yields lie at most eight windows."""
    halves = []
    slices = calibrate(
        numbered_world(),
        [lambda probs: Recorder(probs, halves)],
        [Channel("stream", WINDOW)],
        0.1,
        np.random.default_rng(0),
        48,
    )
    scored = [sum(len(windows) for _, windows in halves) for _ in slices]
    assert max(np.diff(scored)) == 8
    assert len(scored) == 1 + 48 // 24 + 48 // 8 + 1


def test_the_limit_is_the_score_that_a_stated_share_of_the_windows_exceeds():
    """The recorder scores the windows of each halving 1 to 24."""
    detector, _ = drawn(Channel("stream", WINDOW), draws=240, rate=0.25)
    assert detector.alarming == ("recorder",)
    assert detector.limits["stream"]["recorder"] == 19  # of 24 scores, 5 and a bit are higher
    assert set(detector.limits["stream"]) == {"recorder", "bbsds_given_class"}


def test_a_world_of_one_chunk_is_split_in_two():
    _, halves = drawn(Channel("stream", WINDOW), streams=1, rows=10)
    for reference, windows in halves:
        assert len(reference) == 5
        assert not set(reference) & set(np.concatenate(windows))


class Fixed:
    """A window test with one score for every window."""

    def __init__(self, score):
        self.score = lambda probs: score


def test_what_only_characterises_is_asked_only_where_there_is_an_alarm():
    tests = {"a": Fixed(3.0), "b": Fixed(1.0), "kind": Fixed(8.0)}
    window = np.eye(2)
    limits = {"quiet": {"a": 6.0, "b": 4.0, "kind": 4.0}, "loud": {"a": 2.0, "b": 4.0, "kind": 4.0}}
    detector = CalibratedDetector(tests, limits, ("a", "b"))
    assert detector.excess("quiet", window) == {"a": 0.5, "b": 0.25}
    assert detector.excess("loud", window) == {"a": 1.5, "b": 0.25, "kind": 2.0}
    assert detector.worst({"a": 0.5, "b": 0.7, "kind": 9.0}) == 0.7
    at_the_limit = CalibratedDetector(tests, {"same": {"a": 3.0, "b": 4.0, "kind": 4.0}}, ("a", "b"))
    assert at_the_limit.excess("same", window) == {"a": 1.0, "b": 0.25}


def test_the_tail_beyond_the_data_is_exponential():
    """100 scores 1 to 100: the upper tenth exceeds its start, 90, by 5.5 on average."""
    scores = np.arange(1.0, 101)
    for rate in (0.01, 0.001):
        assert threshold(scores, rate) == pytest.approx(max(90 + 5.5 * np.log(0.1 / rate), 100))
    assert threshold(scores, 0.1) == np.quantile(scores, 0.9, method="higher")
    assert threshold(scores, 0.099) == 100  # never below what was seen


def test_the_rate_of_one_test_is_at_most_a_half():
    assert rate_per_test(1e9, channels=1, tests_per_day=1) == 0.5
