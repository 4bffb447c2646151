"""Reads the file for `--request-intervals` of Triton's perf_analyzer: the gap before each
request in µs, one per line.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.core.events import Time
from evaluation.arrivals.request import Arrival
from evaluation.arrivals.trace_row import TraceRow, number


def rows(path: Path, lines: Sequence[str], model: str, slo_ns: Time | None) -> Iterator[TraceRow]:
    """Yields one request per gap; gaps add up exactly, fractions of a µs included. The file's
    stem names the stream. Raises `UserError`.
    """
    at_ns: Time = 0
    for line, text in enumerate(lines, 1):
        if text.strip():
            where = f"{path}:{line}"
            at_ns += round(number(text.strip(), where, "the gap in µs") * 1000)
            yield TraceRow(where, Arrival(at_ns, path.stem, model, slo_ns))
