"""Intervals hold the truth as often as they say, with few values too."""

import numpy as np
import pytest

from evaluation.metrics.bootstrap import Interval, mean_interval, student_t


@pytest.mark.parametrize(
    ("freedom", "confidence", "t"),
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (3, 0.95, 3.182), (4, 0.95, 2.776), (9, 0.99, 3.250), (30, 0.9, 1.697)],
)
def test_student_t_as_tables_have_it(freedom: int, confidence: float, t: float) -> None:
    assert student_t(freedom, confidence) == pytest.approx(t, abs=5e-4)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_it_holds_the_mean_as_often_as_it_says(count: int) -> None:
    samples = np.random.default_rng(1).normal(size=(1_000, count))
    hits = sum(not mean_interval(sample, draws=400, seed=i).excludes(0) for i, sample in enumerate(samples.tolist()))
    assert 0.92 <= hits / 1_000 <= 0.97


def test_one_value_has_no_spread() -> None:
    assert mean_interval([3.0]) == Interval(3.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="no mean"):
        mean_interval([])
