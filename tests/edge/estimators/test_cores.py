"""The fit finds the law that durations follow, and says what a number of cores would take that was never tried."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.estimators.cores import Cores
from evaluation.synthetic import stage

EYE = stage("eye", 4)
THREADS = {"one": 1, "two": 2, "four": 4, "eight": 8}
SHARES = st.integers(0, 10)


def taught(law: tuple[float, ...], lanes: tuple[str, ...] = ("one", "two", "four"), times: int = 20) -> Cores:
    """All batches ran `times` times on each of these lanes, as the law has it, in ms."""
    estimator = Cores(threads=THREADS)
    for _, lane, batch in product(range(times), lanes, (1, 2, 4, 8)):
        estimator.learn(EYE, batch, lane, took_ns(law, batch, lane))
    return estimator


def took_ns(law: tuple[float, ...], batch: int, lane: str) -> int:
    g, d, e, h = law
    cores = THREADS[lane]
    return round((g * batch / cores + d * batch + e / cores + h) * 1e6)


@given(SHARES, SHARES, SHARES, st.integers(1, 10))
def test_the_law_is_found(g: int, d: int, e: int, h: int) -> None:
    """Also where it has been tried on no such number of cores, if less exactly: the profile still has a say."""
    estimator = taught((g, d, e, h), times=50)
    for lane, batch in product(THREADS, (1, 3, 8, 16)):
        expected, off = took_ns((g, d, e, h), batch, lane), 0.5e6 if lane == "eight" else 0.2e6
        assert estimator.duration_ns(EYE, batch, lane) == pytest.approx(expected, rel=0.05, abs=off)


def test_what_was_never_tried_follows_from_what_was() -> None:
    law = (8, 0.5, 4, 1)
    estimator = taught(law, lanes=("one", "two"), times=50)
    for batch in (1, 4, 8):
        assert estimator.duration_ns(EYE, batch, "four") == pytest.approx(took_ns(law, batch, "four"), rel=0.1)


def test_noise_is_put_on_top() -> None:
    steady, shaky = Cores(threads=THREADS), Cores(threads=THREADS)
    for turn, lane, batch in product(range(40), ("one", "two"), (1, 2, 4)):
        took = took_ns((8, 1, 4, 1), batch, lane)
        steady.learn(EYE, batch, lane, took)
        shaky.learn(EYE, batch, lane, took + (1 if turn % 2 else -1) * 1_000_000)
    more = shaky.duration_ns(EYE, 2, "two") - steady.duration_ns(EYE, 2, "two")
    assert more == pytest.approx(3_000_000, rel=0.02)


def test_a_lane_without_cores_of_its_own_keeps_to_itself() -> None:
    estimator = taught((8, 1, 4, 1))
    before = estimator.duration_ns(EYE, 4, "gpu0")
    assert before == Cores().duration_ns(EYE, 4, "gpu0")
    for _ in range(20):
        estimator.learn(EYE, 4, "gpu0", 1000)
    assert estimator.duration_ns(EYE, 4, "one") == pytest.approx(took_ns((8, 1, 4, 1), 4, "one"), rel=0.05)
    assert estimator.duration_ns(EYE, 4, "gpu0") < before


@pytest.mark.parametrize("options", [{"threads": {"a": 0}}, {"margin": 0}, {"runs_min": 0}, {"shrink": 0}])
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"thread|margin"):
        Cores(**options)  # type: ignore[arg-type]
