"""WindowDrop by hand, the four ways to wait for a larger batch, and the batch to aim at."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.policies.blocks.window_drop import window
from edge.policies.symphony import Symphony
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import MS
from tests.edge.policies.blocks.test_feasibility import Idle

Build = Callable[..., Any]
EYE = affine("eye", 1, 5)  # a batch of b takes b + 5 ms


def windowed(core: Build, target: int, *slos: float) -> list[float] | float:
    """Deadlines, in ms, of the batch that is run now; or of the one that has to go first."""
    box = core(EYE, policy=complete(Idle()))
    for slo_ms in slos:
        box.ask("eye", slo_ms=slo_ms)
    tasks = [task for _, _, task in box.state.queues[EYE.variant.stages[0]]]
    found = window(box.state, tasks, box.state.lanes["cpu0"], 0, target, 8)
    return [task.deadline_ns / MS for task in found] if isinstance(found, tuple) else found.deadline_ns / MS


# Seven tasks due at 6, 8, 9, 12, 20, 20, 20: all of them take 12 ms, which the first four cannot wait for but one:
# the last four take 9 ms and make it. The three before them are passed over.
SEVEN = (6, 8, 9, 12, 20, 20, 20)


def test_window_drop_by_hand(core: Build) -> None:
    assert windowed(core, 4, *SEVEN) == 6  # four at once take 9 ms: 6 and 8 are lost, and 9 comes back
    assert windowed(core, 4, *SEVEN[1:]) == 8
    assert windowed(core, 4, *SEVEN[2:]) == [9, 12, 20, 20]  # a fifth would take 10 ms


def test_a_smaller_target_drops_fewer(core: Build) -> None:
    assert windowed(core, 3, *SEVEN) == 6  # three take 8 ms
    assert windowed(core, 3, *SEVEN[1:]) == [8, 9, 12]
    assert windowed(core, 1, *SEVEN) == [6]


def test_a_batch_grows_beyond_its_target_where_that_costs_nobody(core: Build) -> None:
    assert windowed(core, 1, 9, 9, 9, 9, 9) == [9, 9, 9, 9]


def test_where_all_are_in_time_nobody_goes(core: Build) -> None:
    assert windowed(core, 2, 50, 60, 70) == [50, 60, 70]


def test_where_none_is_in_time_the_first_goes(core: Build) -> None:
    assert windowed(core, 2, 3, 4, 5) == 3


# ---- when a batch may begin ----------------------------------------------------------------------------------------


def waiting(core: Build, policy: Symphony, number: int = 1, slo_ms: float = 50) -> Any:
    box = core(EYE, policy=complete(policy))
    for _ in range(number):
        box.ask("eye", slo_ms=slo_ms)
    return box


def test_it_waits_until_a_larger_batch_would_be_late(core: Build) -> None:
    """One waits: two would take 7 ms. Two wait: three would take 8 ms, and so on, 0.1 ms before each."""
    box = waiting(core, Symphony())
    assert box.running() is None
    assert box.woken_at_ms() == pytest.approx(50 - 7 - 0.1)
    box.ask("eye", slo_ms=50, at_ms=0)
    assert box.running() is None
    assert box.woken_at_ms() == pytest.approx(50 - 8 - 0.1)


def test_it_begins_when_the_larger_batch_is_there_no_more(core: Build) -> None:
    box = waiting(core, Symphony(), 3)
    box.wake()
    assert box.now_ms == pytest.approx(50 - 9 - 0.1)
    assert len(box.running().tasks) == 3


def test_the_largest_batch_need_not_wait(core: Build) -> None:
    assert len(waiting(core, Symphony(batch_max=3), 3).running().tasks) == 3
    assert len(waiting(core, Symphony(mode="immediately"), 1).running().tasks) == 1


def test_of_several_the_one_whose_frontrun_is_first(core: Build) -> None:
    box = core(EYE, affine("ear", 0, 20), policy=complete(Symphony()))
    box.ask("eye", slo_ms=50)
    box.ask("ear", slo_ms=55)  # a frontrun at 55 - 20 - 0.1, before 50 - 7 - 0.1
    box.wake()
    assert [task.model for task in box.running().tasks] == ["ear"]


@pytest.mark.parametrize(("rate", "begins_with"), [(0, None), (150, 1), (350, 2), (2000, None)])
def test_as_many_as_come_during_the_fixed_part(core: Build, rate: int, begins_with: int | None) -> None:
    """The fixed part is 5 ms: at 150 a second 0.75 come in it, at 350 a second 1.75; at 2000 ten, and only two wait."""
    policy = Symphony(mode="beta_lambda", batch_max=8)
    for number in range(rate):
        policy.traffic.meter.count("eye", number * 1000 * MS // rate)
    box = core(EYE, policy=complete(policy))
    box.ask("eye", slo_ms=50, at_ms=1000)
    if begins_with == 1:
        assert len(box.running().tasks) == 1
        return
    assert box.running() is None
    box.ask("eye", slo_ms=50, at_ms=1001)
    assert (box.running() is not None) == (begins_with == 2)


def test_credit_lets_an_early_batch_go_and_is_used_up(core: Build) -> None:
    """The target within 50 ms is 19 (24 ms, twice). One alone takes 6 ms instead of 24/19: what is forgiven, once."""
    policy = Symphony(mode="credit")
    box = waiting(core, policy)
    assert len(box.running().tasks) == 1
    charge(policy, box)
    box.finish(at_ms=6)
    box.ask("eye", slo_ms=50)
    assert box.running() is None


def test_a_target_batch_needs_no_credit(core: Build) -> None:
    policy = Symphony(mode="credit")
    charge(policy, box := waiting(core, policy))
    box.finish(at_ms=6)
    for _ in range(19):
        assert box.running() is None
        box.ask("eye", slo_ms=50)
    assert len(box.running().tasks) == 19


def test_a_batch_above_the_target_earns_credit(core: Build) -> None:
    """32 in 37 ms, not in 32 x 24/19, earn 3.42 ms. Five alone cost 10 - 5 x 24/19 = 3.68, seven 3.16."""
    policy = Symphony(mode="credit", credit_batches=0)
    box = core(EYE, affine("busy", 0, 1, 1), policy=complete(policy))
    box.ask("busy")
    for _ in range(32):
        box.ask("eye", slo_ms=50)
    box.finish()
    assert len(box.running().tasks) == 32
    charge(policy, box)
    box.finish(at_ms=37)
    for _ in range(5):
        box.ask("eye", slo_ms=50)
        assert box.running() is None
    for _ in range(2):
        box.ask("eye", slo_ms=50)
    assert box.running() is not None


def test_credit_is_forgotten_after_a_while(core: Build) -> None:
    policy = Symphony(mode="credit", credit_period=0.05)
    charge(policy, box := waiting(core, policy))  # 1/19 of a target batch
    box.finish(at_ms=6)
    box.ask("eye", slo_ms=50)
    assert len(box.running().tasks) == 1


def charge(policy: Symphony, box: Any) -> None:
    policy._charge(box.state, box.running(), round(box.now_ms * MS))


# ---- the batch to aim at -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lanes", "expected"), [(1, 19), (2, 28), (3, 32)])
def test_more_lanes_come_round_sooner(core: Build, lanes: int, expected: int) -> None:
    """49.9 ms for the batch and its wait: l (1 + 1/n). On one lane l is at most 24.95, on two 33.3, on three 37.4."""
    box = core(EYE, policy=complete(Idle()), lanes={f"cpu{n}": 10**6 for n in range(lanes)})
    box.ask("eye", slo_ms=50)
    head = next(iter(box.state.queues.values()))[0][2]
    assert Symphony()._target(box.state, head, box.state.lanes["cpu0"], 0) == expected


@pytest.mark.parametrize(("rate", "expected"), [(0, 19), (100, 4), (200, 7), (1000, 19)])
def test_a_low_rate_does_not_fill_a_batch(core: Build, rate: int, expected: int) -> None:
    """b / rate + b + 5 within 49.9 ms: 11 b at 100 a second, 6 b at 200."""
    policy = Symphony(target="rate")
    for number in range(rate):
        policy.traffic.meter.count("eye", number * 1000 * MS // rate)
    box = core(EYE, policy=complete(Idle()))
    box.ask("eye", slo_ms=50, at_ms=1000)
    head = next(iter(box.state.queues.values()))[0][2]
    assert policy._target(box.state, head, box.state.lanes["cpu0"], 1000 * MS) == expected


@pytest.mark.parametrize("options", [{"mode": "later"}, {"target": "sky"}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of"):
        Symphony(**options)
