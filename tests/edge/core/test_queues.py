"""Queues: sorted by key then id, never empty, and a task is found again under the key that it came with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Task
from edge.core.queues import Queues


def task(number: int, stage: str = "s") -> Task:
    return Task(number, number, "m", (stage,), 0, 0, 100)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=20), st.randoms(use_true_random=False))
def test_whatever_comes_and_goes_each_queue_stays_sorted(asked: list[tuple[int, str]], random: object) -> None:
    queues, tasks = Queues(), [(task(number, stage), (key,)) for number, (key, stage) in enumerate(asked)]
    for each, key in tasks:
        queues.push(each, key)
    for stage, queue in queues.items():
        expected = sorted((key, each.id) for each, key in tasks if each.chain == (stage,))
        assert [entry[:2] for entry in queue] == expected
        assert queues.head(stage) is queue[0][2]
    assert [each.id for each in queues.heads()] == [queue[0][1] for queue in queues.values()]
    random.shuffle(tasks)  # type: ignore[attr-defined]
    for each, _ in tasks:
        queues.pop(each)
        assert all(queues.values()), "a queue without tasks is gone"
    assert queues == {}


def test_a_task_that_does_not_wait_cannot_leave() -> None:
    queues = Queues()
    queues.push(task(1), (0,))
    with pytest.raises(KeyError):
        queues.pop(task(2))
    with pytest.raises(AssertionError, match="does not wait"):
        queues.pop(task(1))  # equal to the one that waits, but another


def test_there_is_no_head_where_none_waits() -> None:
    assert Queues().head("s") is None


def test_what_expires_is_out_before_it_is_told() -> None:
    queues = Queues()
    for number in range(4):
        queues.push(task(number), (number,))
    gone = []
    for each in queues.expire(lambda each: each.id % 2 == 0):
        assert each not in queues.tasks()
        queues.push(task(each.id + 10), (each.id,))  # what comes meanwhile is not looked at
        gone.append(each.id)
    assert gone == [0, 2]
    assert [each.id for each in queues.tasks()] == [10, 1, 12, 3]
