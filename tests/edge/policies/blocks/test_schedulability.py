"""Jeffay's theorem: by hand, and against schedules that are played out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policies.blocks.schedulability import Job, schedulable


@pytest.mark.parametrize(
    ("jobs", "possible"),
    [
        ([], True),
        ([(4, 4)], True),
        ([(4, 5)], False),
        ([(4, 2), (8, 4)], False),  # half the lane each, but 2 that comes behind 4 ends at 6 when it was due at 5
        ([(4, 2), (8, 3)], True),
        ([(4, 2), (8, 3), (80, 2)], True),
        ([(4, 2), (8, 3), (80, 3)], False),  # 3, twice 2 and 3 are due within 9, once the long job has begun
        ([(10, 1), (1000, 9)], True),
        ([(10, 1), (1000, 11)], False),  # the lane is nearly idle, and blocked for too long all the same
    ],
)
def test_by_hand(jobs: list[Job], possible: bool) -> None:
    assert schedulable(jobs) == possible
    assert schedulable(jobs[::-1]) == possible


def missed(jobs: Sequence[Job], phases: Sequence[int], until: int) -> bool:
    """Play out the earliest deadline first, without preemption."""
    releases = sorted(
        (at, at + period, cost)
        for (period, cost), phase in zip(jobs, phases, strict=True)
        for at in range(phase, until, period)
    )
    now, waiting = 0, []
    while releases or waiting:
        if not waiting:
            now = max(now, releases[0][0])
        while releases and releases[0][0] <= now:
            _, due, cost = releases.pop(0)
            waiting.append((due, cost))
        waiting.sort()
        due, cost = waiting.pop(0)
        now += cost
        if now > due:
            return True
    return False


job = st.integers(2, 12).flatmap(lambda period: st.tuples(st.just(period), st.integers(1, period)))


@given(st.lists(st.tuples(job, st.integers(0, 11)), min_size=1, max_size=4))
def test_what_it_allows_is_on_time(drawn: list[tuple[Job, int]]) -> None:
    jobs = [each for each, _ in drawn]
    if schedulable(jobs):
        assert not missed(jobs, [phase for _, phase in drawn], 600)


@given(st.lists(job, min_size=2, max_size=2))
def test_what_it_forbids_is_late_in_the_worst_case(jobs: list[Job]) -> None:
    """Two jobs: the longer period begins one instant before the shorter one comes; or all come at once."""
    phases = [(one, other) for one in range(3) for other in range(13)]
    if not schedulable(sorted(jobs)):
        assert any(missed(sorted(jobs, reverse=True), phase, 600) for phase in phases)
