"""Reads DISB's workloads (SJTU-IPADS/disb, Apache-2.0): a JSON file of clients, each with a model and a kind of load.

"trace", "periodic", "poisson" become arrivals. "continuous" is a client that waits for its answer before it asks again:
a closed loop, which is left out and named in a note, since no two policies would be asked the same.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edge.core.events import Time
from evaluation.arrivals.renewal import Poisson
from evaluation.arrivals.request import Arrival, stream_rng
from evaluation.arrivals.trace_row import TraceRow, number
from porting.errors import UserError

SECOND_NS = 1_000_000_000
MS = 1_000_000

# Model -> ms per item, ms per batch on an edge box. DISB measured 2.79, 4.2, 7.5, 2.9 and 1.18 ms for one item on an
# RTX 3080 with TensorRT (its benchmarks.md). Ours: four times that for one item, three tenths of it for the batch.
MODELS: Mapping[str, tuple[float, float]] = {
    "vgg19": (7.8, 3.4),
    "resnet152": (11.8, 5.0),
    "densenet201": (21.0, 9.0),
    "inceptionv3": (8.1, 3.5),
    "distilbert": (3.3, 1.4),
}

Found = tuple[list[TraceRow], tuple[str, ...]]


def rows(path: Path, text: str, slo_ns: Time | None, seed: int) -> Found:
    """Returns the arrivals of all streams in order of time, and notes. Raises `UserError`.

    Args:
        path: names the file in errors.
        text: its content.
        slo_ns: deadline of every request; None: the period (mean gap) of its stream.
        seed: of the random loads.

    Raises:
        UserError: the content is not a DISB workload.
    """
    content = parsed(path, text)
    duration_ns = round(number(content.get("time"), f"{path}: time", "the duration in s") * SECOND_NS)
    found: list[TraceRow] = []
    waiting: list[str] = []  # streams in a closed loop
    for at, task in enumerate(tasks_of(content, path)):
        where = f"{path}: tasks[{at}]"
        stream, model, load = parts(task, where)
        if load.get("type") == "continuous":
            waiting.append(stream)
            continue
        times_ns, period_ns = times_of(load, stream, f"{where}.load", duration_ns, seed)
        slo = slo_ns or period_ns
        found += [TraceRow(f"{where} ({stream})", Arrival(time_ns, stream, model, slo)) for time_ns in times_ns]
    notes = (f"in a closed loop, so not among the arrivals: {', '.join(waiting)}",) if waiting else ()
    found.sort(key=lambda row: (row.arrival.arrived_ns, row.arrival.stream))
    return found, notes


def parsed(path: Path, text: str) -> Mapping[str, Any]:
    """Returns the content as a table with a list `tasks`. Raises `UserError`."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(content, dict) or not isinstance(content.get("tasks"), list):
        raise UserError(f"{path}: a DISB workload has a list `tasks`; this has none")
    return content


def tasks_of(content: Mapping[str, Any], path: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the tasks. Raises `UserError` for one that is not a table."""
    for at, task in enumerate(content["tasks"]):
        if not isinstance(task, dict):
            raise UserError(f"{path}: tasks[{at}]: expected a table with id, load and client")
        yield task


def parts(task: Mapping[str, Any], where: str) -> tuple[str, str, Mapping[str, Any]]:
    """Returns the stream, the model (without the data set it was trained on) and the load. Raises `UserError`."""
    load, client = task.get("load"), task.get("client")
    if not isinstance(load, dict) or not isinstance(client, dict) or "id" not in task or "model_name" not in client:
        raise UserError(f"{where}: expected id, load and client.model_name")
    return str(task["id"]), str(client["model_name"]).removesuffix("-imagenet"), load


def times_of(load: Mapping[str, Any], stream: str, where: str, duration_ns: Time, seed: int) -> tuple[list[Time], Time]:
    """Returns the arrivals of one stream and its period, both in ns. Raises `UserError`."""
    kind = str(load.get("type"))
    if kind == "trace":
        return recorded(load.get("trace"), f"{where}.trace")
    if kind not in DRAWN:
        known = ", ".join(["trace", *DRAWN, "continuous"])
        raise UserError(f"{where}.type: no load is called {kind!r}; known: {known}")
    rate_per_s = number(load.get("frequency"), f"{where}.frequency", "the rate per second", least=1e-6)
    times = DRAWN[kind](rate_per_s, duration_ns, stream_rng("disb", stream, seed))
    return times, round(SECOND_NS / rate_per_s)


def periodic(rate_per_s: float, duration_ns: Time, rng: np.random.Generator) -> list[Time]:
    """Returns evenly spaced times in ns. All streams begin at time 0, as DISB's clients do."""
    return [round(at * SECOND_NS / rate_per_s) for at in range(int(duration_ns / SECOND_NS * rate_per_s))]


def poisson(rate_per_s: float, duration_ns: Time, rng: np.random.Generator) -> list[Time]:
    """Returns Poisson arrivals in ns."""
    times: list[Time] = Poisson().times(rng, rate_per_s, duration_ns).tolist()
    return times


DRAWN: Mapping[str, Callable[[float, Time, np.random.Generator], list[Time]]] = {
    "periodic": periodic,
    "poisson": poisson,
}


def recorded(stamps: object, where: str) -> tuple[list[Time], Time]:
    """Returns stamps in ms as ns, and their mean gap in ns. Raises `UserError`."""
    if not isinstance(stamps, list) or len(stamps) < 2:
        raise UserError(f"{where}: expected a list of at least two times in ms")
    times = [round(number(stamp, f"{where}[{at}]", "the time in ms") * MS) for at, stamp in enumerate(stamps)]
    for at, (before, after) in enumerate(pairwise(times), 1):
        if after < before:
            raise UserError(f"{where}[{at}]: {stamps[at]} ms after {stamps[at - 1]} ms; times have to ascend")
    return times, max(1, (times[-1] - times[0]) // (len(times) - 1))
