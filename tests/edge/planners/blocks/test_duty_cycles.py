"""Squishy bin packing: the paper's example by hand, and what every packing keeps."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.planners.blocks.duty_cycles import (
    Packing,
    Room,
    Session,
    merged,
    pack,
    pack_what_fits,
    residual,
    saturated_batch,
    throughput,
)

MS = 1_000_000
ONE, TWO = [Room("x", 100)], [Room("x", 100), Room("y", 100)]


def session(model: str, rate_per_s: float, slo_ms: float, ms: Mapping[int, float], bytes_: int = 0) -> Session:
    def duration_ns(batch: int, lane: str) -> int:
        return round(ms[batch] * MS)

    return Session(model, rate_per_s, round(slo_ms * MS), tuple(ms), duration_ns, {model: bytes_})


# The example of the paper: three models at rates that do not fill a GPU.
A = session("a", 64, 200, {4: 50, 8: 75, 16: 100})
B = session("b", 32, 250, {4: 50, 8: 90, 16: 125})
C = session("c", 32, 250, {4: 60, 8: 95, 16: 125})


def plan(packing: Packing) -> dict[str, tuple[float, dict[str, int]]]:
    return {n.lane: (n.duty_ns / MS, {part.session.model: part.batch for part in n.parts}) for n in packing.nodes}


def test_a_model_alone_gathers_for_as_long_as_its_slo_lets_it() -> None:
    node = residual(A, A.rate_per_s, "x")
    assert node is not None
    assert (node.parts[0].batch, node.duty_ns / MS, node.busy_ns() / MS) == (8, 125, 75)
    assert node.occupancy() == pytest.approx(0.6)


def test_what_fits_into_the_rest_of_a_duty_cycle_shares_the_lane() -> None:
    assert plan(pack([A, B], ONE)) == {"x": (125, {"a": 8, "b": 4})}


def test_what_takes_longer_than_the_rest_does_not() -> None:
    packing = pack([A, C], ONE)
    assert plan(packing) == {"x": (125, {"a": 8})}
    assert packing.left == (C,)


def test_the_third_model_takes_another_lane() -> None:
    assert plan(pack([C, B, A], TWO)) == {"x": (125, {"a": 8, "b": 4}), "y": (125, {"c": 4})}


def test_a_rate_that_fills_a_lane_gets_it_alone() -> None:
    busy = session("a", 200, 200, {4: 50, 8: 75, 16: 100})
    assert saturated_batch(busy, "x") == 16
    assert throughput(busy, "x") == 160
    packing = pack([busy], TWO)
    assert plan(packing) == {"x": (100, {"a": 16}), "y": (pytest.approx(100), {"a": 4})}
    assert packing.nodes[0].full


def test_a_batch_that_is_full_but_for_a_rounding_error_is_not_one_larger() -> None:
    node = residual(session("a", 1000 / 3, 40, {1: 1, 2: 2, 3: 3, 4: 4}), 1000 / 3, "x")
    assert node is not None
    again = merged(node, node, 100)
    assert again is not None
    assert {part.batch for part in again.parts} == {node.parts[0].batch}


def test_a_rare_model_waits_for_no_second_request() -> None:
    node = residual(session("a", 0.1, 50, {1: 10, 2: 12}), 0.1, "x")
    assert node is not None
    assert (node.parts[0].batch, node.duty_ns / MS) == (1, 40)


def test_an_slo_that_leaves_no_time_to_wait_fits_nowhere() -> None:
    assert residual(session("a", 10, 19, {1: 10}), 10, "x") is None
    assert pack_what_fits([session("a", 10, 19, {1: 10})], ONE) == (Packing(()), 1.0)


def test_memory_keeps_models_apart() -> None:
    large = [session(name, 1, 100, {1: 1}, bytes_=60) for name in "ab"]
    assert set(plan(pack(large, TWO))) == {"x", "y"}
    assert len(pack(large, ONE).left) == 1


def test_what_is_too_much_is_scaled_down_and_runs_the_largest_batches() -> None:
    both = [session(name, 100, 100, {1: 6, 2: 7, 4: 9, 8: 13, 16: 21, 32: 37}) for name in "ab"]
    packing, share = pack_what_fits([*both, session("c", 1000, 100, {1: 6, 16: 21, 32: 37})], ONE)
    assert 0.1 < share < 0.9
    assert plan(packing) == {"x": (3 * 37, {"a": 32, "b": 32, "c": 32})}
    assert packing.left == ()


def test_models_that_fit_one_by_one_but_at_no_rate_together_are_packed_as_far_as_they_go() -> None:
    packing, share = pack_what_fits([A, B, C], ONE)
    assert (share, packing.left) == (1.0, (C,))
    assert plan(packing) == {"x": (225, {"a": 16, "b": 16})}


def test_what_fits_is_left_as_it_is() -> None:
    assert pack_what_fits([A, B], ONE) == (pack([A, B], ONE), 1.0)


def affine(index: int, rate: float, slo_ms: float, per_item: float, per_batch: float) -> Session:
    return session(f"m{index}", rate, slo_ms, {b: per_item * b + per_batch for b in (1, 2, 4, 8, 16)})


SESSIONS = st.lists(
    st.tuples(st.floats(0.1, 400), st.floats(5, 300), st.floats(0.1, 5), st.floats(0, 8)), min_size=1, max_size=6
).map(lambda drawn: [affine(index, *each) for index, each in enumerate(drawn)])


@given(SESSIONS, st.integers(1, 3))
def test_whoever_is_packed_keeps_the_slo_and_no_lane_has_more_than_it_can_do(
    sessions: list[Session], lanes: int
) -> None:
    packing = pack(sessions, [Room(f"l{lane}", 100) for lane in range(lanes)])
    assert len({node.lane for node in packing.nodes}) == len(packing.nodes) <= lanes
    for node in packing.nodes:
        assert node.busy_ns() <= node.duty_ns
        for part in node.parts:
            assert node.duty_ns + part.session.duration_ns(part.batch, node.lane) <= part.session.slo_ns
            assert part.batch * 1e9 / node.duty_ns >= part.rate_per_s - 0.01 * part.rate_per_s
    served = {part.session.model for node in packing.nodes for part in node.parts}
    assert served | {each.model for each in packing.left} == {each.model for each in sessions}


@given(SESSIONS, st.integers(1, 3))
def test_rates_are_scaled_down_only_where_all_then_fit(sessions: list[Session], lanes: int) -> None:
    rooms = [Room(f"l{lane}", 100) for lane in range(lanes)]
    packing, share = pack_what_fits(sessions, rooms)
    assert 0 < share <= 1
    assert share == 1 or not packing.left
