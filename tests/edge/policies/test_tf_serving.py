"""TensorFlow Serving's and Triton's batching, against schedules worked out by hand from their documents."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import NEVER, Run, Woke
from edge.policies.tf_serving import TensorFlowServing
from edge.policies.triton import Triton
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import served, stage

A = served("a", stage("a", 5))  # batches of 1, 2, 4, 8 take 5, 7, 11, 19 ms
B = served("b", stage("b", 5))

Build = Callable[..., Any]


def ids(run: Run | None) -> list[int]:
    return [] if run is None else [task.id for task in run.tasks]


def test_a_schedule_by_hand(core: Build) -> None:
    """Batches of two, ten milliseconds of patience. a1 waits for a2; b1 for b2; the lane turns between the queues;
    a5 is alone in an open batch, and old enough by the time that the lane comes to it.
    """
    box = core(A, B, policy=complete(TensorFlowServing(max_batch_size=2, batch_timeout_micros=10_000)))
    a1 = box.ask("a", at_ms=0)
    assert (ids(box.running()), box.woken_at_ms()) == ([], 10)
    b1 = box.ask("b", at_ms=2)
    a2 = box.ask("a", at_ms=3)
    assert ids(box.running()) == [a1, a2]
    a3, b2 = box.ask("a", at_ms=4), box.ask("b", at_ms=5)
    a4, a5 = box.ask("a", at_ms=6), box.ask("a", at_ms=7)
    schedule = []
    while box.running():
        schedule.append((box.now_ms, ids(box.running())))
        box.finish(at_ms={7: 10}.get(box.now_ms, box.now_ms + 7))
    assert schedule == [(7, [a1, a2]), (10, [b1, b2]), (17, [a3, a4]), (24, [a5])]
    assert box.clean()


def test_an_open_batch_goes_when_its_first_task_is_old_enough(core: Build) -> None:
    box = core(A, policy=complete(TensorFlowServing(max_batch_size=8, batch_timeout_micros=4_000)))
    box.ask("a", at_ms=0)
    box.ask("a", at_ms=3)
    box.do(Woke(), at_ms=3.9)
    assert box.running() is None
    assert box.woken_at_ms() == 4
    box.do(Woke(), at_ms=4)
    assert ids(box.running()) == [1, 2]


def test_without_a_timeout_nobody_waits(core: Build) -> None:
    box = core(A, policy=complete(TensorFlowServing()))
    box.ask("a")
    assert ids(box.running()) == [1]
    assert box.state.wake_ns == NEVER


def test_a_busy_lane_needs_no_alarm(core: Build) -> None:
    box = core(A, B, policy=complete(TensorFlowServing(batch_timeout_micros=4_000, max_batch_size=1)))
    box.ask("a")
    box.ask("b")
    assert box.state.wake_ns == NEVER


def test_a_full_queue_refuses_who_comes_last(core: Build) -> None:
    box = core(A, policy=complete(TensorFlowServing(max_batch_size=2, max_enqueued_batches=2)))
    box.ask("a")
    waiting = [box.ask("a") for _ in range(4)]
    refused = box.ask("a")
    assert box.replies[refused].outcome == "refused"
    assert box.replies[refused].detail == "2 batches wait already"
    assert {box.outcome(number) for number in waiting} == {None}
    box.finish()
    assert box.outcome(box.ask("a")) is None, "a batch has left"


def test_it_serves_the_dead(core: Build) -> None:
    """No deadline is known to it: what nobody waits for any more is run before what could still be in time."""
    box = core(A, policy=complete(TensorFlowServing(max_batch_size=1)))
    box.ask("a")
    dead, alive = box.ask("a", slo_ms=6), box.ask("a", slo_ms=40)
    box.finish(at_ms=30)
    assert ids(box.running()) == [dead]
    box.finish(at_ms=35)
    assert (box.outcome(dead), box.outcome(alive)) == ("ok", None)


@pytest.mark.parametrize(
    ("allowed", "sizes"), [((), [4, 2, 1]), ([1, 2], [2, 2, 2, 1]), ([4], [4, 1, 1, 1]), ([3], [1] * 7)]
)
def test_sizes_that_are_neither_accepted_nor_allowed_are_not_run(core: Build, allowed: Any, sizes: list[int]) -> None:
    box = core(A, B, policy=complete(TensorFlowServing(allowed_batch_sizes=allowed)))
    box.ask("b")
    for _ in range(7):
        box.ask("a")
    box.finish()
    ran = []
    while box.running():
        ran.append(len(box.running().tasks))
        box.finish()
    assert ran == sizes


# Patience of five milliseconds; seven at most wait, all since 0; a free lane looks at 1 and again at 5 ms.
@pytest.mark.parametrize(
    ("preferred", "waiting", "at_1_ms", "at_5_ms"),
    [
        ((), 1, 0, 1),  # no size is preferred: all wait for the largest
        ((), 7, 0, 4),
        ((), 8, 8, None),
        ((4,), 3, 0, 2),  # of three, the stage accepts two
        ((4,), 4, 4, None),
        ((4,), 5, 4, None),  # the fifth waits for another batch
        ((2, 4), 3, 2, None),
        ((4, 2), 7, 4, None),
        ((3,), 7, 0, 4),  # no size that the stage accepts
    ],
)
def test_triton_sends_what_it_prefers_and_waits_with_the_rest(
    core: Build, preferred: Any, waiting: int, at_1_ms: int, at_5_ms: int | None
) -> None:
    box = core(A, policy=complete(Triton(preferred_batch_size=preferred, max_queue_delay_microseconds=5_000)))
    lane = box.state.lanes["cpu0"]
    lane.running = Run(0, "cpu0", ("busy",), ())
    for _ in range(waiting):
        box.ask("a", at_ms=0)
    lane.running = None
    box.do(Woke(), at_ms=1)
    assert len(ids(box.running())) == at_1_ms
    if at_5_ms is not None:
        assert box.woken_at_ms() == 5
        box.do(Woke(), at_ms=5)
        assert len(ids(box.running())) == at_5_ms


def test_triton_without_a_delay_sends_what_is_there(core: Build) -> None:
    box = core(A, B, policy=complete(Triton()))
    box.ask("b")
    for _ in range(3):
        box.ask("a")
    box.finish()
    assert len(ids(box.running())) == 2


def test_triton_bounds_its_queue_and_the_time_in_it(core: Build) -> None:
    box = core(A, policy=complete(Triton(max_queue_size=2, default_timeout_microseconds=20_000)))
    first, old, old_too, refused = (box.ask("a") for _ in range(4))
    assert box.outcome(refused) == "refused"
    assert box.woken_at_ms() == pytest.approx(20, abs=0.001)
    box.do(Woke(), at_ms=20)
    assert box.outcome(old) is None
    box.do(Woke(), at_ms=20.001)
    assert [box.outcome(number) for number in (first, old, old_too)] == [None, "late", "late"]
