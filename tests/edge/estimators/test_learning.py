"""What the table interpolates, and what is learnt from the last runs."""

from collections.abc import Callable
from math import sin
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.state import Estimator
from edge.estimators.affine import Affine, RecursiveLine
from edge.estimators.mean_std import MeanStd
from edge.estimators.ridge import Ridge
from edge.estimators.rolling import WINDOWS_MAX, Rolling
from edge.estimators.table import CURVES_MAX, Table, through
from evaluation.synthetic import stage
from porting.variant import Stage

PROFILED = Stage("onnx", "g", batches=(1, 2, 4, 8), durations_ns={1: 100, 4: 220, 8: 400})


@pytest.mark.parametrize(("batch", "ns"), [(1, 100), (2, 140), (3, 180), (4, 220), (6, 310), (8, 400), (16, 800)])
def test_between_and_beyond_the_profile(batch: int, ns: int) -> None:
    assert Table().duration_ns(PROFILED, batch, "cpu0") == ns


def test_noise_of_the_profile_is_levelled() -> None:
    noisy = Stage("onnx", "g", durations_ns={1: 100, 2: 90, 4: 300})
    assert [Table().duration_ns(noisy, batch, "cpu0") for batch in (1, 2, 3, 4)] == [100, 100, 200, 300]


def test_what_nobody_profiled() -> None:
    assert Table(unknown_ns=7).duration_ns(Stage("onnx", "g"), 3, "cpu0") == 21


def test_a_new_profile_of_the_same_graph_counts() -> None:
    table = Table()
    assert table.duration_ns(PROFILED, 1, "cpu0") == 100
    assert table.duration_ns(Stage("onnx", "g", durations_ns={1: 50}), 1, "cpu0") == 50


def test_graphs_that_come_and_go_leave_nothing_behind() -> None:
    rolling = Rolling()
    for number in range(WINDOWS_MAX + 50):
        graph = Stage("onnx", f"g{number}", durations_ns={1: 100})
        rolling.duration_ns(graph, 1, "cpu0")
        for _ in range(rolling.runs_min):
            rolling.learn(graph, 1, "cpu0", 7)
    assert rolling.duration_ns(graph, 1, "cpu0") == 7
    assert len(rolling._windows) == len(rolling._learnt) == WINDOWS_MAX
    assert len(rolling.table._curves) <= CURVES_MAX


def learnt(took_ns: list[int], **options: float) -> int:
    rolling = Rolling(**options)  # type: ignore[arg-type]
    for took in took_ns:
        rolling.learn(PROFILED, 1, "cpu0", took)
    return rolling.duration_ns(PROFILED, 1, "cpu0")


def test_the_table_until_there_is_enough() -> None:
    assert learnt([500] * 7) == 100
    assert learnt([500] * 8) == 500


def test_the_last_runs_count() -> None:
    assert learnt([500] * 64 + [50] * 64) == 50


def test_a_high_quantile() -> None:
    assert learnt(list(range(1, 101)), runs=100, outliers=0) == 99
    assert learnt(list(range(1, 101)), runs=100, outliers=0, quantile=0.5) == 50


@pytest.mark.parametrize(("outliers", "ns"), [(1, 500), (0, 90_000)])
def test_one_hiccup(outliers: int, ns: int) -> None:
    assert learnt([500] * 30 + [90_000] + [500] * 5, outliers=outliers) == ns


def test_a_promoted_head_keeps_what_was_learnt() -> None:
    rolling = Rolling()
    for _ in range(8):
        rolling.learn(stage("head", 3, head="h0"), 2, "cpu0", 4_000_777)
    promoted = stage("head", 3, head="h1")
    assert rolling.duration_ns(promoted, 2, "cpu0") == 4_000_777
    assert rolling.duration_ns(promoted, 2, "gpu0") != 4_000_777
    assert rolling.duration_ns(promoted, 1, "cpu0") == 3_000_000


def test_what_runs_often_moves_the_batches_beside_it() -> None:
    """Whoever looks for the largest batch in time halves, so durations may not fall with the batch."""
    eye = Stage("onnx", "eye", batches=(1, 2, 4, 8), durations_ns={1: 10, 2: 12, 4: 16, 8: 24})
    rolling = Rolling()
    for batch, took_ns in ((1, 30), (4, 14)):
        for _ in range(8):
            rolling.learn(eye, batch, "l", took_ns)
    assert [rolling.duration_ns(eye, batch, "l") for batch in (1, 2, 4, 8)] == [30, 30, 30, 30]
    for _ in range(64):
        rolling.learn(eye, 1, "l", 3)
    assert [rolling.duration_ns(eye, batch, "l") for batch in (1, 2, 3, 4, 8)] == [3, 12, 14, 14, 24]


@given(st.lists(st.tuples(st.sampled_from((1, 2, 3, 4, 8)), st.integers(1, 99)), max_size=60))
def test_a_quantile_never_falls_with_the_batch(runs: list[tuple[int, int]]) -> None:
    eye = Stage("onnx", "eye", batches=(1, 2, 4, 8), durations_ns={1: 10, 2: 12, 4: 16, 8: 24})
    rolling = Rolling(runs=4, runs_min=2)
    for batch, took_ns in runs:
        rolling.learn(eye, batch, "l", took_ns)
        known = [rolling.duration_ns(eye, size, "l") for size in range(1, 11)]
        assert known == sorted(known)


@pytest.mark.parametrize(("margin", "ns"), [(1.0, 140), (1.06, 148), (2, 280), (0.001, 1)])
def test_a_margin_is_put_on_the_profile(margin: float, ns: int) -> None:
    assert Table(margin=margin).duration_ns(PROFILED, 2, "cpu0") == ns
    assert Rolling(margin=margin).duration_ns(PROFILED, 2, "cpu0") == ns


def test_a_margin_is_put_on_what_was_learnt() -> None:
    assert learnt([500] * 8, margin=1.1) == 550


@pytest.mark.parametrize("options", [{"runs": 4, "runs_min": 8}, {"quantile": 0}, {"outliers": -1}, {"margin": 0}])
def test_options_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Rolling(**options)  # type: ignore[arg-type]


def test_two_profiles_of_one_graph_at_a_time() -> None:
    table, other = Table(), Stage("onnx", "g", head="h1", durations_ns={1: 70})
    for _ in range(3):
        assert table.duration_ns(PROFILED, 1, "cpu0") == 100
        assert table.duration_ns(other, 1, "cpu0") == 70


def test_a_lane_that_slows_down_slows_what_has_not_run_since() -> None:
    other = Stage("onnx", "other", batches=(1,), durations_ns={1: 1000})
    clocked = Rolling(runs=10, runs_min=1, outliers=0, clock_runs=3)
    for _ in range(10):
        clocked.learn(PROFILED, 1, "cpu0", 110)
        clocked.learn(other, 1, "cpu0", 1100)
    assert clocked.duration_ns(PROFILED, 1, "cpu0") == 110
    for _ in range(2):
        clocked.learn(other, 1, "cpu0", 2200)
    assert clocked.duration_ns(PROFILED, 1, "cpu0") == 220, "it has not run at the new clock"
    assert clocked.duration_ns(PROFILED, 2, "cpu0") == 308, "nor has it run in this batch at all"
    assert clocked.duration_ns(PROFILED, 1, "cpu1") == 100, "another lane has a clock of its own"


# ---- between and beyond what was measured --------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "ns"), [(1, 150), (2, 300), (3, 350), (4, 400), (8, 800)])
def test_through_measured_points(batch: int, ns: int) -> None:
    """Points at 2 and 4; the profile takes 100 for each item."""
    assert through([(2, 300), (4, 400)], lambda size: 100 * size, batch) == ns


# ---- mean and spread -----------------------------------------------------------------------------------------------


def test_mean_and_deviations() -> None:
    nexus = MeanStd(runs=4, runs_min=2, margin=1.0)
    for took_ns in (1, 999, 80, 80, 120, 120):
        nexus.learn(PROFILED, 1, "cpu0", took_ns)
    assert nexus.duration_ns(PROFILED, 1, "cpu0") == 100 + 20, "of the last four"
    assert MeanStd().duration_ns(PROFILED, 1, "cpu0") == 115, "the profile, with the margin of the released code"


def test_batches_that_have_not_run_are_as_much_slower_as_those_that_have() -> None:
    nexus = MeanStd(runs_min=2, margin=1.0)
    for batch, took_ns in ((2, 280), (4, 440)):
        nexus.learn(PROFILED, batch, "cpu0", took_ns)
        nexus.learn(PROFILED, batch, "cpu0", took_ns)
    assert [nexus.duration_ns(PROFILED, batch, "cpu0") for batch in (1, 2, 3, 4, 8)] == [200, 280, 360, 440, 800]


def test_a_hiccup_of_a_small_batch_does_not_make_larger_ones_quicker() -> None:
    nexus = MeanStd(runs_min=2)
    for batch, took_ns in ((1, 900), (4, 220)):
        nexus.learn(PROFILED, batch, "cpu0", took_ns)
        nexus.learn(PROFILED, batch, "cpu0", took_ns)
    found = [nexus.duration_ns(PROFILED, batch, "cpu0") for batch in range(1, 12)]
    assert found == sorted(found)


# ---- a line and a spread -------------------------------------------------------------------------------------------


def test_a_line_through_two_batch_sizes_speaks_for_all() -> None:
    ridge = Ridge(shrink=1e-6)
    for _ in range(10):
        for batch in (1, 8):
            for took_ns in (200 * batch + 95, 200 * batch + 105):
                ridge.learn(PROFILED, batch, "cpu0", took_ns)
    spread = 5 * (40 / 38) ** 0.5
    for batch in (1, 2, 4, 8, 16):
        assert ridge.duration_ns(PROFILED, batch, "cpu0") == pytest.approx(200 * batch + 100 + 3 * spread, rel=0.01)


def test_one_batch_size_alone_leaves_the_slope_to_the_profile() -> None:
    affine_profile = Stage("onnx", "a", batches=(1, 2, 4, 8), durations_ns={b: 1000 * b + 500 for b in (1, 2, 4, 8)})
    ridge = Ridge(deviations=0)
    for _ in range(200):
        ridge.learn(affine_profile, 4, "cpu0", 4700)
    assert ridge.duration_ns(affine_profile, 4, "cpu0") == pytest.approx(4700, rel=0.01)
    assert ridge.duration_ns(affine_profile, 8, "cpu0") == pytest.approx(8900, rel=0.01)


def test_a_line_never_falls() -> None:
    ridge = Ridge()
    for _ in range(50):
        ridge.learn(PROFILED, 1, "cpu0", 900)
        ridge.learn(PROFILED, 8, "cpu0", 300)
    found = [ridge.duration_ns(PROFILED, batch, "cpu0") for batch in range(1, 12)]
    assert found == sorted(found)


# ---- followed run by run -------------------------------------------------------------------------------------------


def run_of(affine: Affine, batches: tuple[int, ...], slowness: float, times: int = 60) -> None:
    for _ in range(times):
        for batch in batches:
            affine.learn(PROFILED, batch, "cpu0", round(PROFILED.durations_ns.get(batch, 0) * slowness))


def test_a_lane_that_is_slower_all_over() -> None:
    affine = Affine()
    run_of(affine, (1, 8), 1.5)
    assert [affine.duration_ns(PROFILED, batch, "cpu0") for batch in (1, 4, 8, 16)] == pytest.approx(
        [150, 330, 600, 1200], rel=0.01
    )


def test_one_batch_size_moves_the_others_along() -> None:
    affine = Affine()
    run_of(affine, (4,), 2.0)
    assert affine.duration_ns(PROFILED, 4, "cpu0") == pytest.approx(440, rel=0.01)
    assert 200 <= affine.duration_ns(PROFILED, 8, "cpu0") <= 800
    assert affine.duration_ns(PROFILED, 8, "cpu0") > 600


def test_a_line_stays_where_nothing_new_is_seen() -> None:
    line = RecursiveLine.at_profile(2.0)
    for _ in range(5_000):
        line.follow(1.0, 1.0, 0.98)
    for _ in range(5_000):
        line.follow(0.5, 1.0, 0.98)
    assert (line.slope, line.height) == pytest.approx((1.0, 0.0), abs=1e-6)
    before = line.ratio(1.0)
    line.follow(0.5, 1.4, 0.98)
    assert abs(line.ratio(1.0) - before) < 0.05, "one run says little, also after a long time of the same"


def test_one_hiccup_is_no_trend() -> None:
    affine = Affine()
    run_of(affine, (1, 4), 1.0)
    affine.learn(PROFILED, 4, "cpu0", 22_000)
    assert affine.duration_ns(PROFILED, 4, "cpu0") == pytest.approx(220, rel=0.03)
    affine.learn(PROFILED, 4, "cpu0", 2_200)
    assert affine.duration_ns(PROFILED, 4, "cpu0") > 2_000, "two are taken for more"


def test_it_comes_back_down() -> None:
    affine = Affine()
    run_of(affine, (1, 4, 8), 3.0)
    run_of(affine, (1, 4, 8), 1.0, times=100)
    assert affine.duration_ns(PROFILED, 4, "cpu0") == pytest.approx(220, rel=0.02)


def test_no_noise_makes_more_quicker() -> None:
    random, affine = Random(4), Affine(runs_min=1)
    for _ in range(300):
        affine.learn(PROFILED, random.choice((1, 2, 4, 8)), "cpu0", random.randrange(1, 2_000))
        found = [affine.duration_ns(PROFILED, batch, "cpu0") for batch in range(1, 12)]
        assert found == sorted(found)
        assert found[0] > 0


# ---- how often it is enough ----------------------------------------------------------------------------------------


def steady(turn: int) -> float:
    return 1.4


def drifting(turn: int) -> float:
    """Up and down by a third within some 1,200 runs."""
    return 1.3 + 0.3 * sin(turn / 200)


def throttled(turn: int) -> float:
    return 1.0 if turn % 1_000 < 500 else 1.8


def covered(estimator: Estimator, speed: Callable[[int], float], noise: float = 0.05, runs: int = 4_000) -> float:
    """Share of runs that took at most what was promised just before, on a lane whose speed changes. The first 500 are
    for learning.
    """
    random, enough = Random(7), 0
    for turn in range(runs):
        batch = random.choice((1, 2, 4, 8))
        took_ns = round(PROFILED_LONG.durations_ns[batch] * speed(turn) * (1 + abs(random.gauss(0, noise))))
        enough += turn >= 500 and took_ns <= estimator.duration_ns(PROFILED_LONG, batch, "cpu0")
        estimator.learn(PROFILED_LONG, batch, "cpu0", took_ns)
    return enough / (runs - 500)


PROFILED_LONG = Stage(
    "onnx", "g", batches=(1, 2, 4, 8), durations_ns={b: 2_400_000 + 600_000 * b for b in (1, 2, 4, 8)}
)


@pytest.mark.parametrize("quantile", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("speed", [steady, drifting, throttled])
def test_the_quantile_is_what_it_says(speed: Callable[[int], float], quantile: float) -> None:
    assert covered(Affine(quantile=quantile, outliers=0), speed) == pytest.approx(quantile, abs=0.01)


def test_a_fixed_quantile_is_too_low_on_a_lane_that_changes() -> None:
    assert covered(Affine(quantile=0.9, outliers=0, pace=0), drifting) < 0.85
    assert covered(Rolling(quantile=0.9, outliers=0), drifting) < 0.75


@pytest.mark.parametrize(
    ("estimator", "least", "most"),
    [
        (Rolling(quantile=0.9, outliers=0), 0.85, 0.95),
        (MeanStd(margin=1.0), 0.75, 0.9),
        (Ridge(), 0.98, 1.0),
        (Table(margin=1.06), 0.0, 0.0),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_on_a_steady_lane_that_is_slower_than_its_profile(estimator: Estimator, least: float, most: float) -> None:
    assert least <= covered(estimator, steady) <= most
