"""HERD: affinity by hand, the exact grouping, and the greedy one that is never better."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.planners.blocks.duty_cycles import Room
from edge.planners.blocks.lane_groups import Group, StreamRate, affinity, alike, exact, greedy, partitions, ways, worth
from edge.planners.herd import placement

GROUPINGS = {"exact": exact, "greedy": greedy}
BOTH = pytest.mark.parametrize("search", GROUPINGS.values(), ids=GROUPINGS)


def stream(
    model: str, rate: float = 10, ms: tuple[float, float] = (1, 1), able: float = 100, bytes_: int = 1
) -> StreamRate:
    throughputs = dict.fromkeys(("x", "y", "z"), able)
    return StreamRate(model, rate, *ms, throughputs, {model: bytes_})


def rooms(**memory: int) -> list[Room]:
    return [Room(lane, bytes_) for lane, bytes_ in memory.items()]


def found(groups: list[Group]) -> Mapping[str, tuple[str, ...]]:
    return {lane: tuple(sorted(models)) for lane, models in placement(groups).items()}


def test_twins_suit_each_other() -> None:
    assert affinity(stream("a", ms=(2, 3)), stream("b", ms=(2, 3))) == 1


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0.6, 2.4), (1.6, 4.0), 0.375),  # 1.6 + 4 - 2.4 = 3.2; min(3 / 1.6, max(0.6 / 3.2, 0.6 / 1.6))
        ((1.6, 4.0), (0.6, 2.4), 5.6 / 0.6),  # 0.6 + 2.4 - 4 < 0
        ((4.0, 6.0), (2.5, 5.0), 4 / 1.5),  # 2.5 + 5 - 6 = 1.5; min(10 / 2.5, max(4 / 1.5, 4 / 2.5))
    ],
)
def test_affinity_by_hand(one: tuple[float, float], other: tuple[float, float], expected: float) -> None:
    assert affinity(stream("a", ms=one), stream("b", ms=other)) == pytest.approx(expected)


def test_short_and_long_models_are_not_alike_whichever_comes_first() -> None:
    short, long = stream("a", ms=(1, 1)), stream("b", ms=(10, 10))
    assert not alike(short, long, 1.5)
    assert not alike(long, short, 1.5)


def test_lanes_are_divided_in_every_way() -> None:
    assert [len([*partitions("wxyz"[:lanes])]) for lanes in range(1, 5)] == [1, 2, 5, 15]
    assert ways(2, 3) == 2**3 + 3**3


@BOTH
def test_models_that_are_alike_share_all_lanes(search) -> None:
    assert found(search([stream("a"), stream("b")], rooms(x=9, y=9), 1.5)) == {"x": ("a", "b"), "y": ("a", "b")}


@BOTH
def test_short_batches_do_not_wait_for_long_ones(search) -> None:
    streams = [stream("a"), stream("b"), stream("c", ms=(10, 10))]
    lanes = found(search(streams, rooms(x=9, y=9), 1.5))
    assert sorted(lanes.values()) == [("a", "b"), ("c",)]


@BOTH
def test_a_further_lane_goes_to_whoever_tolerates_least(search) -> None:
    streams = [stream("a", rate=10), stream("b", rate=90, ms=(10, 10))]
    lanes = found(search(streams, rooms(x=9, y=9, z=9), 1.5))
    assert sorted(lanes.values()) == [("a",), ("b",), ("b",)]


@BOTH
def test_memory_keeps_models_apart(search) -> None:
    streams = [stream(name, bytes_=6) for name in "ab"]
    lanes = found(search(streams, rooms(x=9, y=9), 1.5))
    assert sorted(lanes.values()) == [("a",), ("b",)]


@BOTH
def test_more_kinds_than_lanes_share_with_the_nearest(search) -> None:
    streams = [stream("a", ms=(1, 1)), stream("b", ms=(3, 3)), stream("c", ms=(40, 40)), stream("d", ms=(41, 40))]
    lanes = found(search(streams, rooms(x=9, y=9), 1.5))
    assert sorted(lanes.values()) == [("a", "b"), ("c", "d")]


@BOTH
def test_what_is_too_large_for_every_lane_is_left_out(search) -> None:
    assert found(search([stream("a"), stream("b", bytes_=20)], rooms(x=9), 1.5)) == {"x": ("a",)}


@BOTH
def test_a_model_that_nobody_asks_for_is_placed_too(search) -> None:
    assert found(search([stream("a", rate=0)], rooms(x=9), 1.5)) == {"x": ("a",)}


@BOTH
def test_no_models_no_groups(search) -> None:
    assert found(search([], rooms(x=9), 1.5)) in ({}, {"x": ()})


STREAMS = st.lists(
    st.tuples(st.floats(1, 100), st.tuples(st.floats(0.5, 9), st.floats(0.5, 9)), st.integers(1, 8)),
    min_size=1,
    max_size=4,
).map(lambda drawn: [stream(f"m{at}", rate, ms, 100, size) for at, (rate, ms, size) in enumerate(drawn)])


@given(STREAMS, st.lists(st.integers(4, 12), min_size=1, max_size=3))
def test_greedy_is_never_better_than_exact(streams: list[StreamRate], memory: list[int]) -> None:
    lanes = [Room(lane, size) for lane, size in zip("xyz", memory, strict=False)]
    best, quick = exact(streams, lanes, 1.5), greedy(streams, lanes, 1.5)
    assert worth(quick, len(streams), 1.5) <= worth(best, len(streams), 1.5)
    for groups in (best, quick):
        room_of = {room.lane: room.memory_bytes for room in lanes}
        for group in groups:
            blobs = sum(size for each in group.streams for size in each.blobs.values())
            assert all(blobs <= room_of[lane] for lane in group.lanes)
