"""Arrival processes by name: `poisson`, `gamma4`, …"""

import re
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from edge.arrivals.renewal import Gamma, Poisson, Times
from edge.events import Time
from porting.errors import UserError

NAME = re.compile(r"([a-z_]+?)(\d+(?:\.\d+)?)?$")


class Process(Protocol):
    """When a stream's requests come."""

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Instants in [0, duration_ns), ascending, int64 ns; `rate_per_s` of them a second in the mean."""


PROCESSES: Mapping[str, Callable[..., Process]] = {"poisson": Poisson, "gamma": Gamma}


def process(name: str) -> Process:
    """The process of this name; a number behind it is its first option (`gamma4`: cv 4). Raises `UserError`."""
    found = NAME.match(name)
    kind = PROCESSES.get(found[1]) if found else None
    if found is None or kind is None:
        raise UserError(f"arrivals: no process is called {name!r}; known: {', '.join(PROCESSES)}")
    return kind(float(found[2])) if found[2] else kind()
