"""Slices, budgets, weather."""

import threading

import pytest

from devices.interface import DeviceError
from drift.jobs import BackgroundJob


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


def slices(clock, costs, result="done", error=None):
    for cost in costs:
        clock.now += cost
        yield
    if error:
        raise error
    return result


def test_a_step_stops_before_a_slice_that_would_not_fit():
    clock = Clock()
    job = BackgroundJob("work", slices(clock, [3] * 7), clock)
    spent = []
    while not job.done:
        began = clock.now
        job.step(10)
        spent.append(clock.now - began)
    assert spent == [9, 9, 3]
    assert job.result == "done"
    assert job.spent_ns == 21


def test_a_slice_longer_than_the_budget_still_advances():
    clock = Clock()
    job = BackgroundJob("work", slices(clock, [50, 50]), clock)
    assert [job.step(10) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("error", [DeviceError("lane is gone"), OSError(28, "disk full"), MemoryError()])
def test_weather_ends_a_job_without_a_traceback(error):
    clock = Clock()
    job = BackgroundJob("work", slices(clock, [1], error=error), clock)
    assert job.step(10) is True
    assert job.result is None
    assert type(error).__name__ in (job.error or "") or "Error" in (job.error or "")


def test_a_bug_is_not_weather():
    clock = Clock()
    with pytest.raises(ZeroDivisionError):
        BackgroundJob("work", slices(clock, [1], error=ZeroDivisionError()), clock).step(10)


def test_a_cancelled_job_gives_back_what_its_slices_hold_at_its_next_step():
    held = []

    def holding():
        held.append("engine")
        try:
            yield
            yield
        finally:
            held.clear()

    job = BackgroundJob("work", holding(), Clock())
    assert job.step(-1) is False
    assert held
    job.cancel()
    assert job.step(-1) is True
    assert (held, job.done, job.result, job.error) == ([], True, None, None)


def test_a_job_may_be_cancelled_while_a_step_is_under_way():
    began, cancelled = threading.Event(), threading.Event()

    def slow():
        began.set()
        assert cancelled.wait(10)
        yield
        raise AssertionError("it went on")

    job = BackgroundJob("work", slow(), Clock())
    lane = threading.Thread(target=job.step, args=(-1,))
    lane.start()
    assert began.wait(10)
    job.cancel()
    cancelled.set()
    lane.join(10)
    assert job.step(-1) is True
