"""What every window test promises, whichever file it is in."""

import inspect
import pkgutil
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

import drift.detection
from drift.detection.bbsds import Bbsds


def every_detector():
    for info in pkgutil.iter_modules(drift.detection.__path__, "drift.detection."):
        module = import_module(info.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == info.name and hasattr(kind, "score") and not getattr(kind, "_is_protocol", False):
                yield kind


def answers(rows, seed=0, sure=4.0, mix=None, classes=4):
    """Softmax outputs [rows, classes]; `sure` is the margin of the class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (rows, classes))
    logits[np.arange(rows), rng.choice(classes, size=rows, p=mix)] += sure
    exponents = np.exp(logits)
    return (exponents / exponents.sum(1, keepdims=True)).astype(np.float32)


CHANGED = {
    "mean_confidence": answers(200, 2, sure=1.0),
    "bbsds": answers(200, 2, sure=1.0),
    "bbsds_given_class": answers(200, 2, sure=1.0),
    "class_prior": answers(200, 2, mix=[0.7, 0.1, 0.1, 0.1]),
}
detectors = pytest.mark.parametrize("make", list(every_detector()), ids=lambda kind: kind.__name__)


@detectors
def test_unlike_scores_higher_than_like(make):
    test = make(answers(1000))
    assert test.score(CHANGED[test.name]) > 3 * test.score(answers(200, 1))


@detectors
@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 60), seed=st.integers(0, 1000))
def test_score_is_finite_repeatable_and_blind_to_order(make, rows, seed):
    test, window = make(answers(300)), answers(rows, seed)
    before = window.copy()
    score = test.score(window)
    assert np.isfinite(score)
    assert test.score(window[::-1]) == pytest.approx(score, abs=1e-6)
    assert (window == before).all()


@detectors
def test_a_window_of_one_class_only_has_a_score(make):
    window = np.tile(np.float32([1, 0, 0, 0]), (10, 1))
    assert np.isfinite(make(answers(300)).score(window))
    assert np.isfinite(make(window).score(answers(20)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 10**6))
def test_bbsds_is_the_two_sample_distance_of_scipy(window_rows, reference_rows, seed):
    rng = np.random.default_rng(seed)
    reference, window = rng.integers(0, 6, (reference_rows, 3)) / 5.0, rng.integers(0, 6, (window_rows, 3)) / 5.0
    expected = max(ks_2samp(reference[:, k], window[:, k], method="asymp").statistic for k in range(3))
    assert Bbsds(reference).score(window) == pytest.approx(expected)
