"""Finds arrival processes by name (`poisson`, `gamma4`, `periodic0.1`, …) and draws the times of
many streams at once.
"""

import re
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from edge.core.events import Time
from evaluation.arrivals.mmpp import Diurnal, FlashCrowd, Mmpp
from evaluation.arrivals.motion_gated import Motion, OnOff
from evaluation.arrivals.renewal import Gamma, Pareto, Periodic, Poisson, Times
from evaluation.arrivals.request import stream_rng
from porting.errors import UserError

NAME = re.compile(r"([a-z]+)(\d+(?:\.\d+)?)?")


class Process(Protocol):
    """Generates the times at which a stream's requests come."""

    def times(self, rng: np.random.Generator, rate_per_s: float, duration_ns: Time) -> Times:
        """Returns instants in [0, duration_ns), ascending, int64 ns, with a mean rate of `rate_per_s`."""


@runtime_checkable
class Shared(Protocol):
    """Generates arrivals of which a part is common to all streams."""

    def shared(self, rng: np.random.Generator, duration_ns: Time) -> Process:
        """Draws the common part and returns the process that each stream then draws from by itself."""


# The number behind a name is the first option of its class.
PROCESSES: Mapping[str, Callable[..., Process]] = {
    "periodic": Periodic,
    "poisson": Poisson,
    "gamma": Gamma,
    "pareto": Pareto,
    "mmpp": Mmpp,
    "diurnal": Diurnal,
    "flash": FlashCrowd,
    "onoff": OnOff,
    "motion": Motion,
}


def process(name: str) -> Process:
    """Returns the process of a name; a number behind it is its first option: `gamma4` has cv 4. Raises `UserError`."""
    found = NAME.fullmatch(name)
    kind = PROCESSES.get(found[1]) if found else None
    if found is None or kind is None:
        known = ", ".join(PROCESSES)
        raise UserError(f"arrivals: no process is called {name!r}; known: {known}, most with a number behind: gamma4")
    try:
        return kind(float(found[2])) if found[2] else kind()
    except (TypeError, ValueError) as error:
        why = f"{found[1]} takes no number" if isinstance(error, TypeError) else str(error)
        raise UserError(f"arrivals: {name!r}: {why}") from None


def streams(
    process: Process, scenario: str, rates_per_s: Mapping[str, float], seed: int, duration_ns: Time
) -> dict[str, Times]:
    """Returns the times of each stream. Adding or removing a stream leaves the times of the others as they were."""
    if isinstance(process, Shared):
        process = process.shared(stream_rng(scenario, "", seed), duration_ns)
    return {
        stream: process.times(stream_rng(scenario, stream, seed), rate, duration_ns)
        for stream, rate in rates_per_s.items()
    }
