"""Clients that wait: as many requests as there are answers."""

import pytest

from edge.core.events import Request
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.arrivals.closed_loop import BACK_OFF_NS, ClosedLoop, play_closed
from evaluation.arrivals.request import Client
from evaluation.scenario import MS, Scenario, affine

BOX = Scenario("box", (affine("slow", 10, 0),), (), slowdown=0)


def played(*clients: Client, until_ms: float = 1000, scenario: Scenario = BOX) -> ClosedLoop:
    policy = complete(EarliestDeadlineFirst(batch_max=1))
    return play_closed(scenario, clients, round(until_ms * MS), policy, Table(), start_ns=10 * MS)


def answered(world: ClosedLoop) -> int:
    return sum(reply.outcome == "ok" for _, reply in world.replies)


def test_the_next_comes_when_the_last_is_answered() -> None:
    world = played(Client("c", "slow", 100 * MS))
    assert [request.arrived_ns // MS for request in world.requests] == list(range(10, 1000, 10))
    assert answered(world) == len(world.requests) == 99


def test_thinking_takes_its_time() -> None:
    world = played(Client("c", "slow", 100 * MS, think_ns=40 * MS))
    assert [request.arrived_ns // MS for request in world.requests] == list(range(10, 1000, 50))


@pytest.mark.parametrize("outstanding", [1, 3])
def test_never_more_open_than_it_may_have(outstanding: int) -> None:
    world = played(Client("c", "slow", 500 * MS, outstanding))
    ends = {reply.request_id: time for time, reply in world.replies}
    for request in world.requests:
        still_open = [r for r in world.requests if r.arrived_ns <= request.arrived_ns < ends[r.id]]
        assert len(still_open) <= outstanding
    assert len(world.requests) == 98 + outstanding  # the lane is busy all the time, whoever waits


def test_background_clients_take_what_is_left() -> None:
    frames = tuple(Request(n, "slow", "gate", n * 40 * MS, n * 40 * MS + 25 * MS) for n in range(1, 20))
    scenario = Scenario("box", BOX.served, frames, slowdown=0)
    world = played(Client("be", "slow"), scenario=scenario, until_ms=800)
    outcomes = {reply.request_id: reply.outcome for _, reply in world.replies}
    assert all(outcomes[frame.id] == "ok" for frame in frames)
    assert sum(request.stream == "be" for request in world.requests) > 15
    assert len({request.id for request in world.requests}) == len(world.requests)


def test_who_is_refused_backs_off() -> None:
    world = played(Client("c", "nobody", 100 * MS), until_ms=20)
    arrived = [request.arrived_ns for request in world.requests]
    assert arrived == list(range(10 * MS, 20 * MS, BACK_OFF_NS))
