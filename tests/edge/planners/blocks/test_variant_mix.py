"""Mixes by hand, and that no other choice of variants that can be served is more accurate."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.planners.blocks.variant_mix import Option, best_mix, served_at_most

ONE = [Option("a", "exact", "l", 0.0125, 0.9), Option("a", "quick", "l", 0.0025, 0.7)]


@pytest.mark.parametrize(
    ("rate", "exact"),
    [(50, 1.0), (80, 1.0), (100, 0.75), (200, 0.25), (400, 0.0)],  # 12.5 x + 2.5 (1 - x) ms = 1000 ms / rate
)
def test_as_much_of_the_exact_one_as_there_is_time_for(rate: float, exact: float) -> None:
    found = best_mix({"a": rate}, ONE, 1.0)["a"]
    assert found.get("exact", 0.0) == pytest.approx(exact, abs=1e-4)
    assert found.get("quick", 0.0) == pytest.approx(1 - exact, abs=1e-4)


def test_more_than_the_quickest_can_serve() -> None:
    assert best_mix({"a": 401}, ONE, 1.0) == {}
    assert served_at_most({"a": 100.0}, ONE) == pytest.approx(4.0)
    assert served_at_most({"a": 400.0}, ONE) == pytest.approx(1.0)


def test_headroom_is_served_as_well() -> None:
    assert best_mix({"a": 80.0}, ONE, 1.25)["a"]["exact"] == pytest.approx(0.75, abs=1e-4)


def test_time_goes_where_it_buys_most_accuracy() -> None:
    """Both may gain 0.2; a for 10 ms more, b for 2 ms more: b is served exactly first."""
    options = [*ONE, Option("b", "exact", "l", 0.0045, 0.9), Option("b", "quick", "l", 0.0025, 0.7)]
    found = best_mix({"a": 100.0, "b": 100.0}, options, 1.0)
    assert found["b"] == {"exact": 1.0}
    assert found["a"]["exact"] == pytest.approx(0.3, abs=1e-4)  # what is left: 550 ms = 1250 x + 250 (1 - x)


def test_of_equally_accurate_ones_the_quicker() -> None:
    options = [Option("a", "slow", "l", 0.01, 0.8), Option("a", "quick", "l", 0.001, 0.8)]
    assert best_mix({"a": 10.0}, options, 1.0) == {"a": {"quick": 1.0}}


def test_two_lanes_of_different_speed() -> None:
    """The fast lane serves 200 exact ones a second, the slow one 100: 250 a second take both."""
    options = [Option("a", "exact", "fast", 0.005, 0.9), Option("a", "exact", "slow", 0.01, 0.9)]
    assert served_at_most({"a": 250.0}, options) == pytest.approx(1.2)
    assert best_mix({"a": 250.0}, options, 1.0) == {"a": {"exact": 1.0}}


def test_a_model_without_an_option() -> None:
    assert best_mix({"a": 1.0, "b": 1.0}, ONE, 1.0) == {}
    assert served_at_most({"a": 1.0, "b": 1.0}, ONE) == 0.0


rates = st.floats(1, 200)
way = st.tuples(st.floats(0.001, 0.02), st.floats(0.1, 1.0))


@given(st.lists(st.tuples(rates, st.lists(way, min_size=1, max_size=3)), min_size=1, max_size=3))
def test_no_choice_of_one_variant_each_is_better(models: list[tuple[float, list[tuple[float, float]]]]) -> None:
    demands = {f"m{at}": rate for at, (rate, _) in enumerate(models)}
    options = [
        Option(f"m{at}", f"v{number}", "l", item_s, accuracy)
        for at, (_, ways) in enumerate(models)
        for number, (item_s, accuracy) in enumerate(ways)
    ]
    found = best_mix(demands, options, 1.0)
    pure = [
        sum(demands[each.model] * each.accuracy for each in chosen)
        for chosen in product(*([each for each in options if each.model == model] for model in demands))
        if sum(demands[each.model] * each.item_s for each in chosen) <= 1 - 1e-9
    ]
    if not found:
        assert not pure
        assert served_at_most(demands, options) < 1 + 1e-6
        return
    shares = {(each.model, each.variant): found[each.model].get(each.variant, 0.0) for each in options}
    assert all(sum(found[model].values()) == pytest.approx(1, abs=1e-4) for model in demands)
    used = sum(demands[each.model] * each.item_s * shares[each.model, each.variant] for each in options)
    value = sum(demands[each.model] * each.accuracy * shares[each.model, each.variant] for each in options)
    assert used <= 1 + 0.02 * len(options)
    assert value >= max(pure, default=0.0) - 0.01 * sum(demands.values())
