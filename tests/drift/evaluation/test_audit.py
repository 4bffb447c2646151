"""A few labels decide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.evaluation.audit import agreement, centroid, choose, corrected, find, interval


@pytest.mark.parametrize(
    ("right", "labels", "accuracy", "verdict"),
    [
        (30, 30, 0.93, "harmless"),
        (28, 30, 0.93, "harmless"),
        (15, 30, 0.93, "harmful"),
        (22, 30, 0.93, "harmful"),
        (25, 30, 0.93, "undecided"),
        (56, 60, 0.93, "harmless"),
        (0, 0, 0.93, "undecided"),
        (18, 30, 0.60, "undecided"),
    ],
)
def test_verdicts(right, labels, accuracy, verdict):
    assert find(right, labels, accuracy, classes=6).verdict == verdict


def test_false_harm_stays_at_its_level():
    rng = np.random.default_rng(0)
    agree = agreement(0.9, 0.05, 6)
    verdicts = [find(int(rng.binomial(30, agree)), 30, 0.9, 6, teacher_error=0.05).verdict for _ in range(3000)]
    assert verdicts.count("harmful") / 3000 <= 0.013


@given(st.floats(0.2, 1), st.floats(0, 0.4), st.integers(2, 20))
def test_correction_undoes_the_teachers_error(accuracy, error, classes):
    assert corrected(agreement(accuracy, error, classes), error, classes) == pytest.approx(accuracy, abs=1e-6)


def test_interval_is_clopper_and_pearsons():
    assert interval(45, 50) == pytest.approx(
        (0.78186, 0.96672), abs=1e-5
    )  # Brown, Cai, DasGupta 2001: the exact interval
    assert interval(0, 10)[0] == 0
    assert interval(10, 10)[1] == 1


@given(st.integers(1, 80), st.integers(1, 100))
def test_halves_are_disjoint_and_the_far_half_is_far(count, rows):
    features = np.random.default_rng(0).normal(size=(rows, 6)) + 1
    middle = centroid(features)
    chance, far = choose(features, middle, count, np.random.default_rng(1))
    assert set(chance).isdisjoint(far)
    assert len(chance) + len(far) == min(count, rows)
    nearness = features @ middle / np.linalg.norm(features, axis=1)
    left = np.setdiff1d(np.arange(rows), [*chance, *far])
    if len(far) and len(left):
        assert nearness[far].max() <= nearness[left].min()
