"""Loads by hand, and workloads made to ask for them."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.answers.cascade import Cascade
from edge.core.events import Served
from evaluation.arrivals.detections import AsRecorded, Averages, items_of
from evaluation.arrivals.load_scaling import cost_of, load_of, scaled, split
from evaluation.arrivals.request import Arrival, arrivals_of, requests_of
from evaluation.scenario import MS, affine
from evaluation.synthetic import stage
from porting.errors import UserError
from porting.variant import Stage, Variant

SECOND_NS = 1_000_000_000
MOB, BERT = affine("mob", 0.6, 2.4), affine("bert", 2.5, 5)
STEADY = [Arrival(at * 10 * MS, "gate", "mob", 50 * MS) for at in range(100)]  # 100 a second


def test_half_of_the_deadline_for_the_batch_the_other_half_for_waiting() -> None:
    # 2 x 1.06 x (2.5 b + 5) <= 100 up to b = 16, which takes 47.7 ms
    assert cost_of(BERT).item_ns(100 * MS) == pytest.approx(1.06 * 45 / 16 * MS)
    assert cost_of(BERT).item_ns(100 * MS, margin=1.0) == pytest.approx(50 / 18 * MS)
    assert cost_of(BERT).item_ns(10 * MS) == pytest.approx(1.06 * 7.5 * MS)  # none fits: alone
    assert cost_of(BERT).item_ns(100 * MS, "alone", 1.0) == pytest.approx(7.5 * MS)
    assert cost_of(BERT).item_ns(1 * MS, "best", 1.0) == pytest.approx(85 / 32 * MS)


def test_a_chain_costs_all_of_its_stages() -> None:
    body, head = stage("body", 10), stage("head", 1)
    chain = Served(Variant("m", "v", (body.digest, head.digest)), (body, head))
    assert cost_of(chain).durations_ns == {batch: round(11 * MS * (0.6 + 0.4 * batch)) for batch in (1, 2, 4, 8)}


def test_a_load_by_hand() -> None:
    # 32 fit into half of 50 ms; each costs 1.06 x 21.6 / 32 ms, a hundred a second
    assert load_of(STEADY, [MOB], duration_ns=SECOND_NS) == pytest.approx(1.06 * 21.6 / 32 / 10)
    assert load_of([replace(STEADY[0], size=3)], [MOB], "alone", 1.0, SECOND_NS) == pytest.approx(0.009)


def test_background_is_no_load() -> None:
    assert load_of([Arrival(0, "s", "mob", None)], [MOB]) == 0


def test_apps_cost_what_they_ask_for() -> None:
    answers = {"junction": Cascade("mob", {"car": "bert", "bus": "bert"}, items_max=5)}
    detections = Averages({"mob": {"car": 1.5, "bus": 9.0}})
    assert items_of(answers, detections) == {"junction": {"mob": 1.0, "bert": 6.5}}
    frame = [Arrival(0, "gate", "junction", 100 * MS)]
    asked = load_of(frame, [MOB, BERT], "alone", 1.0, SECOND_NS, items_of(answers, detections))
    assert asked == pytest.approx((3 + 6.5 * 7.5) / 1000)


def test_what_a_recording_found_counts_in_the_mean() -> None:
    answers = {"junction": Cascade("mob", {"car": "bert"})}
    found = AsRecorded({1: {"mob": {"car": 3}}, 2: {"mob": {}}})
    assert items_of(answers, found) == {"junction": {"mob": 1.0, "bert": 1.5}}
    assert items_of(answers, {"mob": {"car": 4}}) == {"junction": {"mob": 1.0, "bert": 2.0}}
    assert items_of(answers, {}) == {"junction": {"mob": 1.0, "bert": 0.0}}


def test_an_unknown_model_and_one_without_durations() -> None:
    with pytest.raises(UserError, match="no model is called 'mob'; there is bert"):
        load_of(STEADY, [BERT])
    bare = Stage("onnx", "graph")
    with pytest.raises(UserError, match="no durations of graph"):
        cost_of(Served(Variant("m", "v", (bare.digest,)), (bare,)))


@pytest.mark.parametrize("how", ["copies", "compress", "thin"])
@pytest.mark.parametrize("factor", [0.25, 1.0, 2.5, 7.2])
def test_as_many_times_the_rate(how: str, factor: float) -> None:
    more = scaled(STEADY * 5, factor, 1, how)
    duration_ns = SECOND_NS if how == "thin" else more[-1].arrived_ns
    rate = sum(each.size for each in more) / duration_ns * SECOND_NS
    assert rate == pytest.approx(500 * factor, rel=0.1)
    assert [each.arrived_ns for each in more] == sorted(each.arrived_ns for each in more)


def test_copies_keep_the_gaps_and_get_names() -> None:
    two = scaled(STEADY, 2.0, seed=3)
    assert Counter(each.stream for each in two) == {"gate.0": 100, "gate.1": 100}
    assert [each.arrived_ns for each in two if each.stream == "gate.0"] == [each.arrived_ns for each in STEADY]
    assert scaled(STEADY, 2.0, seed=3) == two != scaled(STEADY, 2.0, seed=4)


def test_one_copy_is_the_thing_itself() -> None:
    assert scaled(STEADY, 1.0) == STEADY


@given(st.floats(0.02, 1.5), st.integers(0, 5))
def test_scaled_to_a_load_it_asks_for_that(load: float, seed: int) -> None:
    more = scaled(STEADY, load / load_of(STEADY, [MOB]), seed)
    assert load_of(more, [MOB]) == pytest.approx(load, rel=0.03)


def test_nothing_cannot_be_scaled() -> None:
    for arrivals, factor in ((STEADY, 0.0), ([], 2.0), (STEADY, -1.0)):
        with pytest.raises(UserError, match="nothing is left"):
            scaled(arrivals, factor)


def test_dealt_out_by_shares() -> None:
    nameless = [replace(each, model="", slo_ns=None) for each in STEADY * 20]
    dealt = split(nameless, {"mob": 2 / 3, "bert": 1 / 3}, {"mob": 5, "bert": 7}, seed=0)
    counts = Counter((each.model, each.stream, each.slo_ns) for each in dealt)
    assert counts["mob", "gate/mob", 5] == pytest.approx(2000 * 2 / 3, rel=0.1)
    assert counts["bert", "gate/bert", 7] == pytest.approx(2000 / 3, rel=0.1)
    assert [each.arrived_ns for each in dealt] == [each.arrived_ns for each in nameless]


@pytest.mark.parametrize("shares", [{}, {"mob": 0.0}, {"mob": -1.0, "bert": 2.0}])
def test_no_shares_no_split(shares: dict[str, float]) -> None:
    with pytest.raises(UserError, match="at least one model"):
        split(STEADY, shares, {})


def test_requests_are_numbered_by_time_and_sizes_are_repeated() -> None:
    made = requests_of([Arrival(5, "b", "m", 10), Arrival(2, "a", "m", None, 2)])
    assert [(each.id, each.app, each.stream, each.arrived_ns, each.deadline_ns) for each in made] == [
        (1, "m", "a", 2, None),
        (2, "m", "a", 2, None),
        (3, "m", "b", 5, 15),
    ]
    assert requests_of(arrivals_of(made)) == made
