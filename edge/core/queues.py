"""Tasks into and out of the sorted queues of their stages. Called by the scheduler only."""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from edge.core.events import Task
from edge.core.interfaces import Opening
from edge.core.state import OpenRequest, Queues, State

Order = Callable[[Task], tuple[Any, ...]]


def queues_of(state: State, task: Task) -> Queues:
    return state.background if task.deadline_ns is None else state.queues


def opened_task(state: State, opened: OpenRequest, opening: Opening, chain: tuple[str, ...]) -> Task:
    """A new task at the begin of its chain. It has the request's times: one end-to-end deadline for all of them."""
    request = opened.request
    task = Task(
        state.next_task, (request.id,), opening.model, chain, 0,
        request.arrived_ns, request.deadline_ns, request.priority, opening.parent, opening.item,
        fixed=bool(opening.variant),
    )  # fmt: skip
    state.next_task += 1
    opened.tasks.append(task.id)
    opened.unfinished += 1
    state.flights[chain] = state.flights.get(chain, 0) + 1
    return task


def wait(state: State, task: Task, order: Order) -> None:
    """Into the queue of its stage."""
    queues, digest = queues_of(state, task), task.chain[task.at]
    entry = (order(task), task.id, task)
    if (queue := queues.get(digest)) is None:
        queues[digest] = [entry]
    else:
        insort(queue, entry)
    for opened in open_requests(state, task):
        opened.waiting[task.id] = task


def leave(state: State, task: Task, order: Order) -> None:
    """Out of its queue, whether to run or to be given up."""
    queues, digest = queues_of(state, task), task.chain[task.at]
    queue = queues[digest]
    at = bisect_left(queue, (order(task), task.id))
    assert queue[at][2] is task, f"the order of {task} has changed while it waited"
    del queue[at]
    if not queue:
        del queues[digest]
    for opened in open_requests(state, task):
        opened.waiting.pop(task.id, None)


def retire(state: State, task: Task) -> None:
    """Nothing will be done for it any more."""
    flights = state.flights
    flights[task.chain] -= 1
    if not flights[task.chain]:
        del flights[task.chain]


def open_requests(state: State, task: Task) -> list[OpenRequest]:
    """Those it serves that are not answered yet."""
    requests = state.requests
    return [requests[request_id] for request_id in task.requests if request_id in requests]


def trouble_ahead(state: State, task: Task) -> str:
    """Why no lane can ever take the rest of its chain; empty where one can."""
    return next((state.impossible[digest] for digest in task.chain[task.at :] if digest in state.impossible), "")


def moved(task: Task, at: int, attempts: int) -> Task:
    """The same task, to wait for stage `at` of its chain."""
    return Task(
        task.id, task.requests, task.model, task.chain, at,
        task.arrived_ns, task.deadline_ns, task.priority, task.parent, task.item, attempts, task.fixed,
    )  # fmt: skip


def rerouted(state: State, task: Task, variant: str) -> Task:
    """The same task on the chain of another variant of its model."""
    chain = state.models[task.model].variants[variant].stages
    retire(state, task)
    state.flights[chain] = state.flights.get(chain, 0) + 1
    return Task(
        task.id, task.requests, task.model, chain, task.at,
        task.arrived_ns, task.deadline_ns, task.priority, task.parent, task.item, task.attempts,
    )  # fmt: skip


def overtaken(state: State, order: Order) -> list[Task]:
    """What waits for a version that has to leave goes over to the one that serves, if it has not begun.

    Returns what has begun and would keep the old version for long: the rest of its way is not loaded any more, or it is
    work without a deadline. It is out of its queue, and to be given up.
    """
    stuck: list[Task] = []
    waiting = [entry[2] for queues in (state.queues, state.background) for queue in queues.values() for entry in queue]
    for task in waiting:
        if state.leaving.isdisjoint(task.chain):
            continue
        serving = state.models[task.model].serving
        assert serving is not None, f"{task.model}: a version has to leave, and none serves"
        lost = any(digest in state.leaving and not state.held(digest) for digest in task.chain[task.at :])
        if task.at == 0:
            leave(state, task, order)
            wait(state, rerouted(state, task, serving.name), order)
        elif lost or task.deadline_ns is None:
            leave(state, task, order)
            stuck.append(task)
    return stuck
