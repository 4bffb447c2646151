"""What every estimator keeps: positive whole nanoseconds, no answer that changes by asking, no mixing of stages."""

import copy

import pytest

from edge.state import Estimator
from edge.workload import stage
from porting.variant import Stage

PROFILED = stage("graph", 4)
UNPROFILED = Stage("onnx", "unknown", batches=(1, 2))


@pytest.mark.parametrize("known", [PROFILED, UNPROFILED], ids=["profiled", "unprofiled"])
@pytest.mark.parametrize("batch", [1, 2, 3, 8, 100])
def test_positive_whole_nanoseconds(estimator_class: type, known: Stage, batch: int) -> None:
    estimator: Estimator = estimator_class()
    before = estimator.duration_ns(known, batch, "cpu0")
    estimator.learn(known, batch, "cpu0", 0)  # a clock too coarse
    for took_ns in (1, 10**12, 5):
        estimator.learn(known, batch, "cpu0", took_ns)
    for value in (before, estimator.duration_ns(known, batch, "cpu0")):
        assert isinstance(value, int)
        assert value > 0


def test_asking_changes_nothing(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    for took_ns in range(100, 200):
        estimator.learn(PROFILED, 2, "cpu0", took_ns)
    before = copy.deepcopy(estimator)
    first = [estimator.duration_ns(PROFILED, batch, "cpu0") for batch in (1, 2, 4, 8)]
    assert [estimator.duration_ns(PROFILED, batch, "cpu0") for batch in (1, 2, 4, 8)] == first
    assert estimator == before


def test_more_is_never_quicker_by_profile(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    durations = [estimator.duration_ns(PROFILED, batch, "cpu0") for batch in range(1, 20)]
    assert durations == sorted(durations)


def test_what_is_learnt_of_one_stage_says_nothing_of_another(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    other = stage("other", 7)
    before = estimator.duration_ns(other, 1, "cpu0")
    for _ in range(100):
        estimator.learn(PROFILED, 1, "cpu0", 123)
    assert estimator.duration_ns(other, 1, "cpu0") == before


def test_it_stays_bounded(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    for took_ns in range(1, 200):
        estimator.learn(PROFILED, 1, "cpu0", took_ns)
    size = len(repr(estimator))
    for took_ns in range(200, 900):
        estimator.learn(PROFILED, 1, "cpu0", took_ns)
    assert len(repr(estimator)) < size * 1.2
