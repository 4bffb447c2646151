"""Reads the Azure LLM inference traces (Azure/AzurePublicDataset, CC-BY): per line a timestamp
of 100 ns resolution and token counts.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from edge.core.events import Time
from evaluation.arrivals.request import Arrival
from evaluation.arrivals.trace_row import TraceRow
from porting.errors import UserError

SECOND_NS = 1_000_000_000


def rows(path: Path, lines: Sequence[str], model: str, slo_ns: Time | None) -> Iterator[TraceRow]:
    """Yields one request per line, with times counted from the first line.

    Args:
        path: names the stream (its stem) and the place of an error.
        lines: the file's lines, with the header.
        model: the model that every request asks for.
        slo_ns: their deadline after arrival; None: background work.

    Raises:
        UserError: a line is malformed or earlier than the first.
    """
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
    """Returns a time such as `2023-11-16 18:17:03.9799600` in ns since 1970. Raises `UserError`."""
    seconds, _, fraction = text.strip().partition(".")
    try:
        at_s = int((datetime.fromisoformat(seconds) - datetime(1970, 1, 1)).total_seconds())
        return at_s * SECOND_NS + int(fraction[:9].ljust(9, "0"))
    except (ValueError, TypeError):
        raise UserError(f"{where}: {text[:40]!r} is no time; expected YYYY-MM-DD HH:MM:SS.fffffff") from None
