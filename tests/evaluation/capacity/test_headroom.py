"""The largest number that holds, found with few tries; how much more often; what would help."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.systems import system
from evaluation.capacity.headroom import changes, headroom, largest, most, paced
from evaluation.capacity.search import cope
from tests.evaluation.capacity.plan_builder import question

BOUNDS = st.tuples(st.integers(1, 80), st.integers(0, 80)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(BOUNDS, st.integers(0, 200), st.integers(-5, 300))
def test_the_largest_is_found_and_nothing_is_tried_twice(bounds: tuple[int, int], limit: int, start: int) -> None:
    least, greatest = bounds
    tried: list[int] = []

    def test(number: int) -> bool:
        tried.append(number)
        return number <= limit

    assert largest(test, least, greatest, start) == max(least - 1, min(limit, greatest))
    assert len(set(tried)) == len(tried)
    assert all(least <= number <= greatest for number in tried)


@pytest.mark.parametrize(("limit", "tries"), [(40, 4), (36, 5), (47, 6)])
def test_a_good_guess_saves_tries(limit: int, tries: int) -> None:
    counted: list[int] = []

    def test(number: int) -> bool:
        counted.append(number)
        return number <= limit

    assert largest(test, 1, 1000, 40) == limit
    assert len(counted) <= tries


def test_a_hundred_frames_a_second_are_some_twenty_cameras(box: Path) -> None:
    asked, told = question(box), list[str]()
    best, held = most(asked, 4, 64, tell=told.append)
    assert 17 <= best <= 20
    assert held[best] == cope(asked, best)
    assert not cope(asked, best + 1).holds(0.99)
    assert set(held) <= set(range(4, 65))
    assert len(told) <= 7


@pytest.mark.parametrize(("least", "greatest", "best"), [(1, 5, 5), (30, 64, 29)])
def test_bounds_are_kept(least: int, greatest: int, best: int, box: Path) -> None:
    found, held = most(question(box), least, greatest)
    assert found == best
    assert (best in held) == (best >= least)


@pytest.mark.parametrize(("cameras", "times"), [(10, 1.9), (19, 1.0), (40, 0.48)])
def test_headroom_is_what_is_left_of_the_capacity(cameras: int, times: float, box: Path) -> None:
    found = headroom(question(box), cameras)
    assert found == pytest.approx(times, rel=0.12)


def test_fewer_frames_are_watched_for_longer(box: Path) -> None:
    asked = question(box)
    assert [(q.fps, q.duration_s) for q in (paced(asked, 0.5), paced(asked, 2.0))] == [(2.5, 10.0), (10.0, 5.0)]


def test_changes_say_how_many_more(box: Path) -> None:
    asked, told = question(box), list[str]()
    best, held = most(asked, 1, 64)
    found = {
        each.words: each for each in changes(asked, best, 100, [system("fifo")], tell=told.append, near=held[best].load)
    }
    assert [*found] == told
    assert all(each.cameras == max(0, best + each.more) for each in found.values())
    assert found["a second device like each one"].more == pytest.approx(best, abs=3)
    assert found["models a quarter faster"].more == pytest.approx(best / 3, abs=2)
    assert found["4 frames a second"].more == pytest.approx(best / 4, abs=2)
    assert abs(found["one more frame of each camera may wait"].more) <= 2
    assert found["system: fifo"].more <= 1
