"""Bytes of a lane's memory: a blob that several stages share is there once, and goes with the last of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.residency import Residency
from porting.variant import Stage

SIZES = {"trunk": 100, "head-a": 10, "head-b": 20, "head-c": 30}


def stage(name: str, *blobs: str) -> Stage:
    return Stage("onnx", name, blobs={blob: SIZES[blob] for blob in blobs})


A, B, C = stage("a", "trunk", "head-a"), stage("b", "trunk", "head-b"), stage("c", "head-c")
STEP = Stage("step", "train")  # needs no room


def lane_with(limit_bytes: int, *stages: Stage) -> Residency:
    lane = Residency(limit_bytes)
    for one in stages:
        lane.reserve(one)
        lane.arrive(one.digest, one)
    return lane


def test_a_shared_blob_takes_its_room_once_and_gives_it_back_with_the_last() -> None:
    lane = lane_with(200, A, B)
    assert lane.used_bytes == 130
    lane.evict(A.digest)
    assert (lane.used_bytes, lane.holds(A.digest), lane.holds(B.digest)) == (120, False, True)
    lane.evict(B.digest)
    assert (lane.used_bytes, lane.blobs, lane.resident) == (0, {}, {})


def test_what_is_missing_is_what_no_stage_here_holds() -> None:
    lane = lane_with(130, A)
    assert lane.missing_bytes(B) == 20
    assert lane.fits(B)  # to the byte
    lane.reserve(B)
    assert not lane.fits(C)
    assert not lane_with(129, A).fits(B)


def test_a_load_takes_its_room_when_it_is_ordered_and_gives_it_back_when_it_fails() -> None:
    lane = Residency(200)
    lane.reserve(A)
    assert lane.used_bytes == 110
    assert not lane.holds(A.digest)
    lane.release(A)
    assert (lane.used_bytes, lane.blobs) == (0, {})


def test_what_was_used_last_stands_last() -> None:
    lane = lane_with(200, A, B, C)
    lane.touch(A.digest)
    assert [*lane.resident] == [B.digest, C.digest, A.digest]
    assert lane.resident[A.digest] is A


@pytest.mark.parametrize(
    ("limit_bytes", "held", "wanted", "chosen"),
    [
        (140, [A], C, []),  # it fits beside what is there
        (139, [A], C, [A]),
        (139, [A, B], C, [A, B]),  # A alone would free its head only: the trunk goes with B
        (150, [A, B], C, [A]),  # and that is enough here, to the byte
        (149, [A, B], C, [A, B]),
        (120, [A], B, [A]),  # the trunk is wanted and stays; A's head makes room
        (119, [A], B, []),  # so there is no room, whatever goes
        (150, [A, C], B, [A]),
        (149, [A, C], B, [A, C]),
        (119, [A, C], B, []),
        (20, [C], A, []),  # larger than the lane
        (150, [STEP, A, B], C, [A]),  # what holds no bytes is not worth an eviction
    ],
)
def test_the_first_few_candidates_that_make_room_or_none(
    limit_bytes: int, held: list[Stage], wanted: Stage, chosen: list[Stage]
) -> None:
    lane = lane_with(limit_bytes, *held)
    assert lane.victims(wanted, [one.digest for one in held]) == [one.digest for one in chosen]


STAGES = st.sets(st.sampled_from([*SIZES])).flatmap(lambda blobs: st.just(stage("+".join(sorted(blobs)), *blobs)))


@given(st.lists(STAGES, max_size=6, unique_by=lambda one: one.digest), STAGES, st.integers(0, 200))
def test_victims_make_room_and_none_of_them_is_needless(held: list[Stage], wanted: Stage, limit_bytes: int) -> None:
    """Against evicting one by one: `victims` names the shortest beginning of the candidates after which it fits."""
    held = [one for one in held if one.digest != wanted.digest]
    lane = lane_with(limit_bytes, *held)
    chosen = lane.victims(wanted, [one.digest for one in held])
    tried = lane_with(limit_bytes, *held)
    named = []
    for one in held:
        if tried.fits(wanted):
            break
        if one.blobs:
            tried.evict(one.digest)
            named.append(one.digest)
    assert chosen == (named if tried.fits(wanted) else [])
    for digest in chosen:
        lane.evict(digest)
    assert lane.used_bytes == sum(SIZES[blob] for blob in {b for one in lane.resident.values() for b in one.blobs})
