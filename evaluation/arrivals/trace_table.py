"""Reads and writes our own CSV: `arrival_ns,stream,model,slo_ms,size`, one arrival per line, in order of time.

An empty `slo_ms` is background work. `stream`, `slo_ms` and `size` may be left out of the header.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evaluation.arrivals.request import Arrival
from evaluation.arrivals.trace_row import TraceRow, number, whole
from porting.errors import UserError

COLUMNS = ("arrival_ns", "stream", "model", "slo_ms", "size")
NEEDED = {"arrival_ns", "model"}
SIZE_MAX = 10_000  # requests at one instant


def rows(path: Path, lines: Sequence[str]) -> Iterator[TraceRow]:
    """Yields the arrivals of a file. Raises `UserError` for a wrong header or a wrong number of cells."""
    reader = csv.DictReader(lines)
    header = reader.fieldnames or ()
    if not NEEDED <= set(header) <= set(COLUMNS):
        raise UserError(f"{path}:1: columns {', '.join(header)}; expected {','.join(COLUMNS)}")
    for cells in reader:
        where = f"{path}:{reader.line_num}"
        if None in cells or None in cells.values():
            raise UserError(f"{where}: not as many cells as the header has columns")
        yield TraceRow(where, arrival_of(cells, where))


def arrival_of(cells: Mapping[str, str], where: str) -> Arrival:
    """Returns the arrival in a row's cells. Raises `UserError`."""
    arrived_ns = whole(cells["arrival_ns"], where, "arrival_ns")
    slo = cells.get("slo_ms", "")
    slo_ns = round(number(slo, where, "slo_ms", least=1e-6) * 1e6) if slo else None
    size = whole(cells.get("size") or "1", where, "size", least=1)
    if size > SIZE_MAX:
        raise UserError(f"{where}: {size} requests at one instant; at most {SIZE_MAX:,}")
    return Arrival(arrived_ns, cells.get("stream") or cells["model"], cells["model"], slo_ns, size)
