"""The arrays say what adding up says, whatever is done to the queues."""

from bisect import insort
from math import exp, log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Task
from edge.core.queues import Entry
from edge.meters.urgency import Pressure
from evaluation.synthetic import MS

CAP = 10.0
WEIGHTS = {"a": 2.0, "b": 0.5}


def entry(number: int, arrived_ms: float, slo_ms: float) -> Entry:
    arrived = round(arrived_ms * MS)
    task = Task(number, number, "abc"[number % 3], ("s",), 0, arrived, arrived + round(slo_ms * MS))
    return (task.deadline_ns,), number, task


def urgency(task: Task, now: int) -> float:
    slo = max(1, task.deadline_ns - task.arrived_ns)
    exponent = (now - task.deadline_ns) / slo
    return WEIGHTS.get(task.model, 1.0) * (CAP if exponent > log(CAP) else exp(exponent))


def pressure_of(**queues: list[Entry]) -> Pressure:
    pressure = Pressure(lambda task: task.model, CAP)
    pressure.follow(queues)
    return pressure


@pytest.mark.parametrize(
    ("ahead_ms", "expected"),
    [(0, exp(-1)), (50, exp(-0.5)), (100, 1.0), (200, exp(1)), (331, CAP), (10**12, CAP)],
)
def test_one_task(ahead_ms: float, expected: float) -> None:
    pressure = pressure_of(eye=[entry(2, 0, 100)])
    for times, weights in ((1, None), (3, {"c": 3.0}), (1, {"a": 3.0})):
        pressure.follow({"eye": [entry(2, 0, 100)]}, weights)
        assert pressure.after([ahead_ms * MS]).tolist() == [pytest.approx(times * expected)]
        assert pressure.of("eye", 1, ahead_ms * MS) == pytest.approx(times * expected)


steps = st.lists(
    st.tuples(
        st.floats(0, 400),  # ms until then
        st.sampled_from([0.0, 20.0, 50.0, 100.0]),  # SLO of who comes
        st.integers(0, 4),  # how many leave in front
        st.booleans(),  # does one leave from the middle?
        st.sampled_from(["eye", "ear"]),
        st.lists(st.sampled_from([0.0, 1.0, 30.0, 96.0, 700.0, 1e6]), min_size=1, max_size=3),  # ms ahead
    ),
    max_size=40,
)


@given(steps)
def test_it_is_what_adding_up_says_whatever_is_done_to_the_queues(done: list[Any]) -> None:
    queues: dict[str, list[Entry]] = {}
    pressure, now_ms = Pressure(lambda task: task.model, CAP), 0.0
    for number, (gap_ms, slo_ms, leaving, middle, name, ahead_ms) in enumerate(done, 1):
        now_ms += gap_ms
        queue = queues.setdefault(name, [])
        insort(queue, entry(number, now_ms, slo_ms))
        del queue[:leaving]
        if middle and len(queue) > 2:
            del queue[len(queue) // 2]
        if not queue:
            del queues[name]
        if not queues:
            continue
        pressure.follow(queues, WEIGHTS)
        at_ns = [round((now_ms + ahead) * MS) for ahead in ahead_ms]
        tasks = [task for queue in queues.values() for _, _, task in queue]
        expected = [sum(urgency(task, at) for task in tasks) for at in at_ns]
        assert pressure.after(at_ns).tolist() == pytest.approx(expected, rel=1e-9)
        first = next(iter(queues))
        some = sum(urgency(task, at_ns[0]) for _, _, task in queues[first][:2])
        assert pressure.of(first, 2, at_ns[0]) == pytest.approx(some, rel=1e-9)


def test_what_did_not_change_is_not_read_again() -> None:
    queue = [entry(number, number, 50) for number in range(10)]
    pressure = pressure_of(eye=queue, ear=queue[:5])
    eye, ear = pressure.columns["eye"], pressure.columns["ear"]
    del queue[:3]
    pressure.follow({"eye": queue, "ear": ear.seen[:]})
    assert pressure.columns["eye"] is not eye
    assert pressure.columns["ear"] is ear
    pressure.follow({"ear": ear.seen[:]})
    assert [*pressure.columns] == ["ear"]
