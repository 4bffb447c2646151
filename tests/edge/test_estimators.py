"""What the table interpolates, and what is learnt from the last runs."""

import pytest

from edge.estimators.rolling import WINDOWS_MAX, Rolling
from edge.estimators.table import CURVES_MAX, Table
from edge.workload import stage
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
        rolling.learn(stage("head", 3, head="h0"), 2, "cpu0", 777)
    promoted = stage("head", 3, head="h1")
    assert rolling.duration_ns(promoted, 2, "cpu0") == 777
    assert rolling.duration_ns(promoted, 2, "gpu0") != 777
    assert rolling.duration_ns(promoted, 1, "cpu0") == 3_000_000


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
