"""One line of a workload, the chance that each stream has to itself, and the requests that come of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from edge.events import Request, Time


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """`size` requests of `stream` for `model` at one instant. `slo_ns`: counted from the arrival; None: background."""

    arrived_ns: Time
    stream: str
    model: str
    slo_ns: Time | None
    size: int = 1


def stream_rng(scenario: str, stream: str, seed: int) -> np.random.Generator:
    """A generator that depends on these three alone: streams may come and go without moving the others."""
    named = sha256(repr((scenario, stream, seed)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(named[:16], "big")))


def requests_of(arrivals: Iterable[Arrival]) -> tuple[Request, ...]:
    """Requests in order of time, ids from 1; the app is the model. What comes at one instant keeps its given order."""
    requests: list[Request] = []
    for arrival in sorted(arrivals, key=lambda arrival: arrival.arrived_ns):
        deadline_ns = None if arrival.slo_ns is None else arrival.arrived_ns + arrival.slo_ns
        for _ in range(arrival.size):
            number = len(requests) + 1
            requests.append(Request(number, arrival.model, arrival.stream, arrival.arrived_ns, deadline_ns))
    return tuple(requests)


def arrivals_at(times_ns: Sequence[int], stream: str, model: str, slo_ns: Time | None) -> list[Arrival]:
    """One arrival of one stream for each of these times."""
    return [Arrival(int(time_ns), stream, model, slo_ns) for time_ns in times_ns]
