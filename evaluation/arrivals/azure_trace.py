"""The Azure LLM inference traces (Azure/AzurePublicDataset, CC-BY): a timestamp of 100 ns a line, and token counts."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from edge.core.events import Time
from evaluation.arrivals.request import Arrival
from evaluation.arrivals.trace_row import TraceRow
from porting.errors import UserError

SECOND_NS = 1_000_000_000


def rows(path: Path, lines: Sequence[str], model: str, slo_ns: Time | None) -> Iterator[TraceRow]:
    """One request a line, counted from the first. The file's name is the stream's. Raises `UserError`."""
    first_ns: Time | None = None
    for line, text in enumerate(lines[1:], 2):
        if not text.strip():
            continue
        where = f"{path}:{line}"
        stamp_ns = stamp(text.split(",")[0], where)
        first_ns = stamp_ns if first_ns is None else first_ns
        if stamp_ns < first_ns:
            raise UserError(f"{where}: before the first line; sort the file by time")
        yield TraceRow(where, Arrival(stamp_ns - first_ns, path.stem, model, slo_ns))


def stamp(text: str, where: str) -> Time:
    """`2023-11-16 18:17:03.9799600` as ns since 1970. Raises `UserError`."""
    seconds, _, fraction = text.strip().partition(".")
    try:
        at_s = int((datetime.fromisoformat(seconds) - datetime(1970, 1, 1)).total_seconds())
        return at_s * SECOND_NS + int(fraction[:9].ljust(9, "0"))
    except (ValueError, TypeError):
        raise UserError(f"{where}: {text[:40]!r} is no time; expected YYYY-MM-DD HH:MM:SS.fffffff") from None
