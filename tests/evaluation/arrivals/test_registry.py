"""Rates, order, bursts, and that each stream's chance is its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.arrivals.mmpp import Diurnal, FlashCrowd, Mmpp
from evaluation.arrivals.motion_gated import Motion, OnOff
from evaluation.arrivals.registry import PROCESSES, process, streams
from evaluation.arrivals.renewal import ARRIVALS_MAX, Gamma, Pareto, Periodic, Poisson
from evaluation.arrivals.request import stream_rng
from porting.errors import UserError

SECOND_NS = 1_000_000_000
NAMES = [*PROCESSES, "gamma4", "gamma0.5", "periodic0.1", "periodic1", "pareto3", "mmpp5", "flash10", "diurnal1"]


def drawn(name: str, rate: float = 50.0, seconds: float = 20.0, seed: int = 0) -> np.ndarray:
    return process(name).times(stream_rng("test", name, seed), rate, round(seconds * SECOND_NS))


@pytest.mark.parametrize("name", NAMES)
def test_so_many_a_second_in_the_mean(name: str) -> None:
    seeds = 60
    counts = [len(drawn(name, rate=20, seconds=100, seed=seed)) for seed in range(seeds)]
    error = np.std(counts) / np.sqrt(seeds)
    assert abs(np.mean(counts) - 2000) < max(4 * error, 1), (np.mean(counts), error)


@pytest.mark.parametrize("name", ["poisson", "gamma4", "pareto3", "periodic0.1"])
def test_from_the_first_second_on(name: str) -> None:
    """A burst process that began with a whole gap would send too many, too few, or everything at once."""
    counts = [len(drawn(name, rate=5, seconds=1, seed=seed)) for seed in range(2_000)]
    assert np.mean(counts) == pytest.approx(5, abs=4 * np.std(counts) / np.sqrt(2_000) + 1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(seed=st.integers(0, 1 << 30), rate=st.just(0.0) | st.floats(1e-6, 300.0), seconds=st.floats(0.0, 5.0))
def test_ascending_and_within_the_duration(name: str, seed: int, rate: float, seconds: float) -> None:
    times = drawn(name, rate, seconds, seed)
    assert times.dtype == np.int64
    assert (np.diff(times) >= 0).all()
    assert not len(times) or (times[0] >= 0 and times[-1] < round(seconds * SECOND_NS))


@pytest.mark.parametrize(("name", "cv"), [("poisson", 1.0), ("gamma4", 4.0), ("gamma0.5", 0.5), ("periodic", 0.0)])
def test_gaps_vary_as_they_are_named(name: str, cv: float) -> None:
    gaps = np.diff(drawn(name, rate=1000, seconds=200))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05, abs=1e-4)


def test_a_pareto_gap_has_a_long_tail() -> None:
    gaps = np.diff(drawn("pareto2.5", rate=1000, seconds=300)) * 1e-6  # in mean gaps
    # P(gap > x) = (1 + x / 1.5)^-2.5
    assert (gaps > 10).mean() == pytest.approx((1 + 10 / 1.5) ** -2.5, rel=0.1)


@pytest.mark.parametrize("name", ["mmpp", "flash", "onoff", "motion"])
def test_what_goes_up_and_down_is_burstier_than_poisson(name: str) -> None:
    per_second, _ = np.histogram(drawn(name, rate=100, seconds=200), bins=200)
    assert per_second.var() / per_second.mean() > 5


def test_a_day_has_its_night() -> None:
    hours, _ = np.histogram(drawn("diurnal0.8", rate=1000, seconds=24), bins=24)
    expected = 1 - 0.8 * np.cos(2 * np.pi * (np.arange(24) + 0.5) / 24)
    assert hours / 1000 == pytest.approx(expected, abs=0.15)


def test_a_crowd_comes_and_goes() -> None:
    tenths, _ = np.histogram(drawn("flash4", rate=1000, seconds=50), bins=10)
    assert tenths[4] / np.delete(tenths, 4).mean() == pytest.approx(4, rel=0.05)


def test_jitter_does_not_add_up() -> None:
    times = drawn("periodic0.1", rate=100, seconds=100)
    offset = times % 10_000_000
    spread = (offset - offset[0] + 5_000_000) % 10_000_000
    assert spread.max() - spread.min() <= 1_000_000


def test_a_phase_may_be_given() -> None:
    rng = stream_rng("test", "", 0)
    assert Periodic(phase=0).times(rng, 4, SECOND_NS).tolist() == [0, 250_000_000, 500_000_000, 750_000_000]
    assert Periodic(phase=0.5).times(rng, 4, SECOND_NS).tolist()[0] == 125_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_depends_on_nobody_else(name: str) -> None:
    one = streams(process(name), "box", {"a": 10.0, "b": 20.0, "c": 5.0}, 7, 10 * SECOND_NS)
    fewer = streams(process(name), "box", {"c": 5.0, "b": 99.0}, 7, 10 * SECOND_NS)
    other = streams(process(name), "box", {"c": 5.0}, 8, 10 * SECOND_NS)
    assert one["c"].tolist() == fewer["c"].tolist()
    assert one["c"].tolist() != other["c"].tolist()


@pytest.mark.parametrize("name", ["poisson", "gamma4", "pareto"])
def test_another_load_is_the_same_pattern_in_less_time(name: str) -> None:
    slow, fast = drawn(name, rate=10), drawn(name, rate=20)
    assert np.abs(fast[: len(slow)] * 2 - slow).max() <= 2


def test_streams_are_not_alike() -> None:
    two = streams(Poisson(), "box", {"a": 50.0, "b": 50.0}, 0, 10 * SECOND_NS)
    assert not set(two["a"].tolist()) & set(two["b"].tolist())


def silent_together(name: str) -> float:
    """Correlation of two streams' arrivals in tenths of a second."""
    two = streams(process(name), "box", {"a": 50.0, "b": 50.0}, 3, 60 * SECOND_NS)
    counts = [np.histogram(times, bins=600, range=(0, 60 * SECOND_NS))[0] for times in two.values()]
    return float(np.corrcoef(counts)[0, 1])


def test_motion_is_seen_by_all_and_a_sensor_by_one() -> None:
    assert silent_together("motion") > 0.9
    assert abs(silent_together("onoff")) < 0.5
    assert abs(silent_together("poisson")) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_a_short_run_has_its_share_of_motion(seed: int) -> None:
    spans = Motion(on_s=1, off_s=3).spans(stream_rng("box", "", seed), 20 * SECOND_NS)
    assert len(spans) == 5
    assert (spans[:, 1] - spans[:, 0]).sum() == pytest.approx(5)
    assert (np.diff(spans.ravel()) > 0).all()
    assert 0 < spans.min() < spans.max() < 20


def test_motion_begins_everywhere_within_a_period() -> None:
    shared = Motion(on_s=2, off_s=6, jitter=0).shared(stream_rng("box", "", 0), 60 * SECOND_NS)
    begins = shared.spans[:, 0]
    period_s = 0.25 / 10  # 10 a second in the mean are 40 while there is motion
    for stream in ("a", "b"):
        times = shared.times(stream_rng("box", stream, 0), 10, 60 * SECOND_NS) / SECOND_NS
        firsts = [times[times >= begin][0] for begin in begins]
        assert all(0 <= first - begin <= period_s for first, begin in zip(firsts, begins, strict=True))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gama", "no process is called 'gama'; known: periodic, poisson, gamma"),
        ("", "no process is called ''"),
        ("gamma-1", "no process is called"),
        ("poisson3", "poisson takes no number"),
        ("gamma0", "coefficient of variation"),
        ("pareto1", "alpha must be above 1"),
        ("periodic2", "share of the period"),
        ("diurnal2", "depth"),
        ("mmpp0", "r_lo <= r_hi"),
        ("flash0", "crowd"),
        ("motion0", "more than nothing"),
    ],
)
def test_a_wrong_name_is_told_in_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        process(name)
    assert "\n" not in str(caught.value)


def test_what_would_not_fit_is_refused() -> None:
    for name in ("poisson", "periodic", "mmpp"):
        with pytest.raises(UserError, match="at most"):
            drawn(name, rate=10 * ARRIVALS_MAX, seconds=1)
    with pytest.raises(UserError, match="changes of state"):
        Mmpp(t_hi=1e-9, t_lo=1e-9).times(stream_rng("x", "", 0), 1, SECOND_NS)
    with pytest.raises(UserError, match="motions; at most"):
        OnOff(1e-9, 1e-9).times(stream_rng("x", "", 0), 1, SECOND_NS)


def test_options_by_their_names() -> None:
    assert process("gamma4") == Gamma(cv=4)
    assert process("mmpp5") == Mmpp(r_hi=5)
    assert process("flash") == FlashCrowd()
    assert process("diurnal0.5") == Diurnal(depth=0.5)
    assert process("pareto1.5") == Pareto(alpha=1.5)
    assert process("motion3") == Motion(on_s=3)
