"""Measures how long a graph takes on this device by batch size; the scheduler's predictions are
built on these times.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from devices.interface import Array, Engine, Tensors
from devices.probe import fingerprint

RUNS_MAX = 300
RUNS_MIN = 20
RUNS_FEW = 5  # made however long they take
OVERDRAFT = 8  # how many budgets the first RUNS_MIN runs may take
BUDGET_NS = 500_000_000  # for each batch size
WARM_UP_RUNS = 3
Clock = Callable[[], int]
Progress = Callable[[float], None]  # 0..1 of the work done


@dataclass(frozen=True, slots=True)
class Timing:
    """Holds the durations of one batch size. With fewer than 100 runs the p99 is the slowest run."""

    p50_ns: int
    p99_ns: int
    mean_ns: int
    runs: int


def measure(
    engine: Engine,
    inputs: Callable[[int], Tensors],
    batches: Sequence[int],
    *,
    budget_ns: int = BUDGET_NS,
    clock: Clock = perf_counter_ns,
    progress: Progress = lambda share: None,
) -> dict[int, Timing]:
    """Times runs one after the other, after a warm-up; returns the timing of each batch size.

    Args:
        engine: what to run.
        inputs: makes the tensors for a batch size.
        batches: sizes to measure.
        budget_ns: time per size, within which up to 300 runs are made; it is exceeded up to eightfold to reach 20 runs.
        clock: monotonic time in ns.
        progress: called with the share of sizes done, 0..1.

    Raises:
        DeviceError: a run failed.
    """
    timings = {}
    for done, batch in enumerate(batches):
        timings[batch] = summary(_durations(engine, inputs(batch), budget_ns, clock))
        progress((done + 1) / len(batches))
    return timings


def _durations(engine: Engine, tensors: Tensors, budget_ns: int, clock: Clock) -> list[int]:
    for _ in range(WARM_UP_RUNS):
        engine.run(tensors)
    taken: list[int] = []
    began = clock()
    while _goes_on(len(taken), clock() - began, budget_ns):
        start = clock()
        engine.run(tensors)
        taken.append(clock() - start)
    return taken


def _goes_on(runs: int, spent_ns: int, budget_ns: int) -> bool:
    """Says whether to make another run. Slow graphs get more than the budget to reach `RUNS_MIN` runs, but not without
    limit: one that takes seconds is run only a few times.
    """
    if runs < RUNS_MIN:
        return runs < RUNS_FEW or spent_ns < OVERDRAFT * budget_ns
    return runs < RUNS_MAX and spent_ns < budget_ns


def summary(durations_ns: Sequence[int]) -> Timing:
    """Returns median, p99 and mean of at least one duration. Quantiles are not interpolated: the slower run counts."""
    values = np.asarray(durations_ns, np.int64)
    p50, p99 = (int(np.quantile(values, q, method="higher")) for q in (0.5, 0.99))
    return Timing(p50, p99, int(values.mean()), len(values))


def random_inputs(engine: Engine, arrays: Mapping[str, Array] | None = None) -> Callable[[int], Tensors]:
    """Returns a function that makes random inputs of a batch size, except for the arrays given
    (a head's weight and bias).
    """
    given = dict(arrays or {})

    def make(batch: int) -> Tensors:
        random = np.random.default_rng(batch)
        tensors = dict(given)
        for spec in engine.inputs:
            shape = [batch if at == 0 and dim is None else dim or 1 for at, dim in enumerate(spec.shape)]
            values = random.random(shape) * (255 if np.dtype(spec.dtype).kind in "ui" else 1)
            tensors.setdefault(spec.name, values.astype(spec.dtype))
        return tensors

    return make


def resident_bytes() -> int:
    """Returns the memory that this process holds, in bytes; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def table_of(device: str, graphs: Mapping[str, tuple[Mapping[int, Timing], int]]) -> dict[str, Any]:
    """Returns the table that the repository stores: timings and memory in bytes by graph, and
    the machine they hold for.
    """
    return {
        "device": device,
        "machine": fingerprint(),
        "graphs": {
            graph: {"batches": {str(b): asdict(t) for b, t in timings.items()}, "memory_bytes": memory}
            for graph, (timings, memory) in graphs.items()
        },
    }
