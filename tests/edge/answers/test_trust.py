"""Trust: shares of one, losses that only take away, no underflow, and a way back."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.answers.trust import Trust

NAMES = ("a", "b", "c")
LOSSES = st.lists(st.fixed_dictionaries({name: st.floats(0, 1) for name in NAMES}), max_size=40)


def trusted(*names: str) -> Trust:
    trust = Trust()
    trust.keep(names)
    return trust


@given(LOSSES, st.floats(0.0, 5.0), st.floats(0.0, 0.5))
def test_shares_are_positive_and_sum_to_one(losses: list[dict[str, float]], rate: float, share: float) -> None:
    trust = trusted(*NAMES)
    for loss in losses:
        trust.punish(loss, rate)
        trust.mix(share)
    assert sum(trust.shares().values()) == pytest.approx(1.0)
    assert all(kept >= share / 3 * 0.999 for kept in trust.shares().values())


@given(LOSSES, st.floats(0.0, 5.0))
def test_weights_are_those_of_the_formula(losses: list[dict[str, float]], rate: float) -> None:
    trust = trusted(*NAMES)
    for loss in losses:
        trust.punish(loss, rate)
    weights = {name: exp(-rate * sum(loss[name] for loss in losses)) for name in NAMES}
    whole = sum(weights.values())
    assert trust.shares() == pytest.approx({name: weight / whole for name, weight in weights.items()}, abs=1e-9)


def test_who_errs_loses_and_does_not_gain() -> None:
    trust = trusted("good", "bad")
    for _ in range(3):
        trust.punish({"good": 0.0, "bad": 1.0}, 0.5)
    assert trust.shares()["bad"] == pytest.approx(exp(-1.5) / (1 + exp(-1.5)))


def test_thousands_of_losses_do_not_underflow() -> None:
    trust = trusted("good", "bad")
    for _ in range(100_000):
        trust.punish({"good": 0.0, "bad": 1.0}, 1.0)
    assert trust.shares() == {"good": 1.0, "bad": 0.0}


def test_without_a_share_there_is_no_way_back_and_with_one_there_is() -> None:
    kept, mixed = trusted("old", "new"), trusted("old", "new")
    for trust, share in ((kept, 0.0), (mixed, 0.01)):
        for at in range(1100):
            trust.punish({"old": float(at >= 1000), "new": float(at < 1000)}, 0.3)
            trust.mix(share)
    assert kept.shares()["new"] < 1e-6
    assert mixed.shares()["new"] > 0.9


def test_who_was_not_asked_keeps_its_share() -> None:
    trust = trusted(*NAMES)
    trust.punish({"a": 1.0, "b": 0.0}, 1.0)
    assert trust.shares()["c"] == pytest.approx(1 / 3)
    assert trust.shares()["a"] / trust.shares()["b"] == pytest.approx(exp(-1))


def test_a_loss_of_somebody_unknown_changes_nothing() -> None:
    trust = trusted(*NAMES)
    trust.punish({"stranger": 1.0}, 1.0)
    assert trust.shares() == pytest.approx(dict.fromkeys(NAMES, 1 / 3))


def test_a_newcomer_is_trusted_as_the_average_and_who_left_is_forgotten() -> None:
    trust = trusted("a", "b")
    trust.punish({"a": 0.0, "b": 1.0}, 2.0)
    before = trust.shares()
    trust.keep(("b", "a", "new"))
    after = trust.shares()
    assert list(after) == ["b", "a", "new"]
    assert after["new"] == pytest.approx(1 / 3)
    assert after["a"] / after["b"] == pytest.approx(before["a"] / before["b"])
    trust.keep(("new",))
    trust.keep(("new", "a"))
    assert trust.shares()["a"] == pytest.approx(0.5)
