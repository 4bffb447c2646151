"""Profiles that draw what was measured, and never go below their floor."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Task
from evaluation.arrivals.detections import AsRecorded, Averages, poisson
from evaluation.arrivals.measured_durations import Profiled, RecordedDurations, Spread
from porting.variant import InputSpec, Stage

STAGE = Stage("onnx", "g", batches=(1, 2, 4), durations_ns={1: 100, 2: 150, 4: 300})
FIRST = Stage("onnx", "g", input=InputSpec("image", 8, 8), batches=(1, 2, 4), durations_ns={1: 100, 2: 150, 4: 300})


@pytest.mark.parametrize(("p50", "p99"), [(1_000_000, 1_100_000), (1_000_000, 1_000_000), (5_000_000, 6_500_000)])
def test_a_spread_goes_through_what_was_measured(p50: int, p99: int) -> None:
    profile, random = Profiled({("g", 1): Spread.through(p50, p99)}), Random(0)
    drawn = [profile.draw_ns(STAGE, 1, "cpu0", random) for _ in range(20_000)]
    assert np.median(drawn) == pytest.approx(p50, rel=0.01)
    assert np.quantile(drawn, 0.99) == pytest.approx(p99, rel=0.02)
    assert min(drawn) >= profile.duration_ns(STAGE, 1, "cpu0")


@given(st.integers(2, 1 << 40), st.floats(0.5, 100.0), st.integers(0, 1000))
def test_no_run_is_quicker_than_the_floor(p50: int, ratio: float, seed: int) -> None:
    profile = Profiled({("g", 1): Spread.through(p50, round(p50 * ratio))})
    floor_ns = profile.duration_ns(STAGE, 1, "cpu0")
    assert p50 // 2 <= floor_ns <= p50 + 1
    assert profile.draw_ns(STAGE, 1, "cpu0", Random(seed)) >= floor_ns


def test_what_was_not_measured_takes_the_table_s() -> None:
    assert Profiled({}).draw_ns(STAGE, 2, "cpu0", Random(0)) == 150


def test_frames_cost_first_stages_something_beside_the_graph() -> None:
    profile = Profiled({}, frame_ns=7)
    assert profile.duration_ns(FIRST, 2, "cpu0") == 150 + 14
    assert profile.duration_ns(STAGE, 2, "cpu0") == 150


RUNS = RecordedDurations({("g", 1, "cpu0"): (90, 100, 140), ("g", 4, "cpu0"): (300, 330)})


def test_a_run_takes_one_of_those_recorded() -> None:
    random = Random(0)
    assert {RUNS.draw_ns(STAGE, 1, "cpu0", random) for _ in range(100)} == {90, 100, 140}
    assert RUNS.duration_ns(STAGE, 1, "cpu0") == 90


def test_a_batch_never_seen_takes_the_nearest_s_ratio() -> None:
    random = Random(0)
    assert {RUNS.draw_ns(STAGE, 2, "cpu0", random) for _ in range(100)} == {135, 150, 210}  # of 1: 0.9, 1.0, 1.4
    assert RUNS.duration_ns(STAGE, 2, "cpu0") == 135


def test_a_lane_never_seen_takes_the_table_s() -> None:
    assert RUNS.draw_ns(STAGE, 4, "npu0", Random(0)) == 300


def task(request: int, model: str = "detector", parent: int | None = None) -> Task:
    return Task(9, request, model, ("a",), 0, 0, 1, parent=parent)


def test_finds_depend_on_the_frame_alone() -> None:
    detections = Averages({"detector": {"car": 2.5, "bus": 0.0}}, seed=1)
    found = [detections(task(request)) for request in range(4_000)]
    assert found == [detections(task(request)) for request in range(4_000)]
    cars = [each["car"] for each in found]
    assert np.mean(cars) == pytest.approx(2.5, abs=0.1)
    assert np.var(cars) == pytest.approx(2.5, abs=0.2)
    assert {each["bus"] for each in found} == {0}
    assert detections(task(1, "classifier")) == {}
    assert detections(task(1, parent=3)) == {}
    assert [Averages({"detector": {"car": 2.5}}, seed=2)(task(n))["car"] for n in range(50)] != cars[:50]


def test_poisson_by_its_place() -> None:
    assert [poisson(place, 1.0) for place in (0.0, 0.36, 0.37, 0.73, 0.74, 0.919, 0.92)] == [0, 0, 1, 1, 2, 2, 3]
    assert poisson(1 - 1e-16, 1.0) < 30


def test_a_recording_finds_what_it_found() -> None:
    detections = AsRecorded({3: {"detector": {"car": 2}}})
    assert detections(task(3)) == {"car": 2}
    assert detections(task(4)) == {}
    assert detections(task(3, parent=1)) == {}
