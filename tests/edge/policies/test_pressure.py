"""The running sums say what adding up says, whatever is done to the queue."""

from bisect import insort
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.events import Task
from edge.policies.pressure import Pressure, urgency
from edge.state import Entry
from edge.workload import MS

CAP = 10.0
WEIGHTS = {"a": 2.0, "b": 0.5}


def entry(number: int, arrived_ms: float, slo_ms: float) -> Entry:
    arrived = round(arrived_ms * MS)
    task = Task(number, (number,), "abc"[number % 3], ("s",), 0, arrived, arrived + round(slo_ms * MS))
    return (task.deadline_ns,), number, task


def added_up(queue: list[Entry], now: int, ahead: int) -> float:
    return sum(WEIGHTS.get(task.model, 1.0) * urgency(task, now, ahead, CAP) for _, _, task in queue)


@pytest.mark.parametrize(
    ("waited_ms", "ahead_ms", "expected"),
    [(0, 0, exp(-1)), (50, 0, exp(-0.5)), (50, 50, 1.0), (0, 200, exp(1)), (0, 331, CAP), (10**9, 10**9, CAP)],
)
def test_one_task(waited_ms: float, ahead_ms: float, expected: float) -> None:
    task = entry(1, 0, 100)[2]
    assert urgency(task, waited_ms * MS, ahead_ms * MS, CAP) == pytest.approx(expected)


steps = st.lists(
    st.tuples(
        st.floats(0, 400),  # ms until then
        st.sampled_from([20.0, 50.0, 100.0]),  # SLO of who comes
        st.integers(0, 4),  # how many leave in front
        st.booleans(),  # does one leave from the middle?
        st.sampled_from([0.0, 1.0, 30.0, 96.0, 700.0, 1e6]),  # ms ahead
    ),
    max_size=60,
)


@given(steps)
def test_the_sums_are_what_adding_up_says(done: list[tuple[float, float, int, bool, float]]) -> None:
    queue: list[Entry] = []
    pressure, now_ms = Pressure(), 0.0
    for number, (gap_ms, slo_ms, leaving, middle, ahead_ms) in enumerate(done, 1):
        now_ms += gap_ms
        insort(queue, entry(number, now_ms, slo_ms))
        del queue[:leaving]
        if middle and len(queue) > 2:
            del queue[len(queue) // 2]
        if not queue:
            continue
        pressure.follow(queue, lambda task: task.model)
        now, ahead = round(now_ms * MS), round(ahead_ms * MS)
        expected = added_up(queue, now, ahead)
        assert pressure.at(now, ahead, CAP, WEIGHTS) == pytest.approx(expected, rel=1e-9)


def test_what_waits_for_thousands_of_its_slo_keeps_its_digits() -> None:
    """An overflow, or a difference of two large sums, would show here."""
    queue = [entry(number, 0.01 * 1.5**number, 0.01) for number in range(40)]
    queue.sort()
    pressure = Pressure()
    pressure.follow(queue, lambda task: task.model)
    now = queue[-1][2].arrived_ns
    for ahead in (0, 10_000, 10**12):
        assert pressure.at(now, ahead, CAP, WEIGHTS) == pytest.approx(added_up(queue, now, ahead), rel=1e-9)


def test_a_queue_that_moves_on_costs_no_memory() -> None:
    pressure, queue = Pressure(), []
    for number in range(5_000):
        queue = [*queue[-9:], entry(number, number, 50)]
        pressure.follow(queue, lambda task: "")
    assert sum(len(part.arrived) for parts in pressure.sums.values() for part in parts) < 1_000
