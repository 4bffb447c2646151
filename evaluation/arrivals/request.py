"""One line of a workload, the chance that each stream has to itself, and the requests that come of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from edge.core.events import NEVER, Request, Time


@dataclass(frozen=True, slots=True)
class Arrival:
    """`size` requests of `stream` for `model` (or an app) at one instant. `slo_ns`: from then on; None: background."""

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
    """In order of time; at one instant by stream, then by all the rest: the same arrivals are always the same list."""
    return sorted(arrivals, key=place)


def place(each: Arrival) -> tuple[Time, str, str, Time, int]:
    return each.arrived_ns, each.stream, each.model, NEVER if each.slo_ns is None else each.slo_ns, each.size


def stream_rng(scenario: str, stream: str, seed: int) -> np.random.Generator:
    """A generator that depends on these three alone: streams may come and go without moving the others."""
    named = sha256(repr((scenario, stream, seed)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(named[:16], "big")))


def requests_of(arrivals: Iterable[Arrival]) -> tuple[Request, ...]:
    """Requests in order of time, ids from 1; the app is the model."""
    requests: list[Request] = []
    for arrival in by_time(arrivals):
        deadline_ns = None if arrival.slo_ns is None else arrival.arrived_ns + arrival.slo_ns
        for _ in range(arrival.size):
            number = len(requests) + 1
            requests.append(Request(number, arrival.model, arrival.stream, arrival.arrived_ns, deadline_ns))
    return tuple(requests)


def arrivals_of(requests: Iterable[Request]) -> list[Arrival]:
    """The way back, one arrival for each request; priorities are lost."""
    return [
        Arrival(
            each.arrived_ns,
            each.stream,
            each.app,
            None if each.deadline_ns is None else each.deadline_ns - each.arrived_ns,
        )
        for each in requests
    ]
