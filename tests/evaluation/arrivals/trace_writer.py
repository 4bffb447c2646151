"""Trace files in our own CSV, as a user would write them."""

import csv
from collections.abc import Iterable
from io import StringIO

from evaluation.arrivals.request import Arrival, by_time
from evaluation.arrivals.trace_table import COLUMNS


def text_of(arrivals: Iterable[Arrival]) -> str:
    """The file's content: the same arrivals are the same bytes."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in by_time(arrivals):
        slo_ms = "" if each.slo_ns is None else repr(each.slo_ns / 1e6).removesuffix(".0")
        writer.writerow((each.arrived_ns, each.stream, each.model, slo_ms, each.size))
    return text.getvalue()
