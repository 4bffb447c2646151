"""Holds one arrival of a workload, seeds a random generator per stream, and makes requests of arrivals."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from edge.core.events import NEVER, Request, Time


@dataclass(frozen=True, slots=True)
class Arrival:
    """Holds `size` requests of `stream` for `model` (or an app) at one instant. `slo_ns`:
    deadline from then on; None: background.
    """

    arrived_ns: Time
    stream: str
    model: str
    slo_ns: Time | None
    size: int = 1


@dataclass(frozen=True)
class Workload:
    """Holds what a trace file says: arrivals in order of time, and one line for each thing that is odd about it."""

    arrivals: tuple[Arrival, ...]
    notes: tuple[str, ...] = ()


def by_time(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Returns arrivals in order of time, then of stream and the other fields: equal arrivals
    always give an equal list.
    """
    return sorted(arrivals, key=place)


def place(each: Arrival) -> tuple[Time, str, str, Time, int]:
    """Returns the sort key of an arrival; background work comes last at its instant and stream."""
    return each.arrived_ns, each.stream, each.model, NEVER if each.slo_ns is None else each.slo_ns, each.size


def stream_rng(scenario: str, stream: str, seed: int) -> np.random.Generator:
    """Returns a generator that depends on these three values alone: adding a stream does not move the others."""
    named = sha256(repr((scenario, stream, seed)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(named[:16], "big")))


def requests_of(arrivals: Iterable[Arrival]) -> tuple[Request, ...]:
    """Returns requests in order of time with ids from 1; the app is the model."""
    requests: list[Request] = []
    for arrival in by_time(arrivals):
        deadline_ns = None if arrival.slo_ns is None else arrival.arrived_ns + arrival.slo_ns
        for _ in range(arrival.size):
            number = len(requests) + 1
            requests.append(Request(number, arrival.model, arrival.stream, arrival.arrived_ns, deadline_ns))
    return tuple(requests)


def arrivals_of(requests: Iterable[Request]) -> list[Arrival]:
    """Returns one arrival for each request, the inverse of `requests_of`; priorities are lost."""
    return [
        Arrival(
            each.arrived_ns,
            each.stream,
            each.app,
            None if each.deadline_ns is None else each.deadline_ns - each.arrived_ns,
        )
        for each in requests
    ]
