"""False alarms stay at the stated rate on correlated answers, and drifts are caught."""

import numpy as np
import pytest
from scipy.stats import poisson

from benchmarks.drift_alarms import Answers, alarms, guarded, world
from drift.detection.thresholds import rate_per_test, threshold
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


def test_threshold_of_scores_that_never_vary():
    assert threshold(np.zeros(100), 1e-6) >= 0


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
