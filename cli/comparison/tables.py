"""Draws a comparison as tables for a terminal: one for each load and arrival process, the best system first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from cli.output import table
from evaluation.metrics.bootstrap import Interval
from evaluation.metrics.summary import SummaryRow, group

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cli.comparison.options import Comparison

BEST, OWN = "▲", "●"  # marks before a system's name


@dataclass(frozen=True, slots=True)
class TableColumn:
    """Describes one column, which shows `metric` times `scale`.

    `least_width`: characters of a terminal that has room for it; JSON has all columns.
    """

    head: str
    metric: str
    scale: float = 1.0
    digits: int = 0
    least_width: int = 0

    def cell(self, row: SummaryRow) -> str:
        value = row[self.metric]
        return "–" if value is None else f"{self.scale * value:.{self.digits if abs(value) < 1000 else 0}f}"


COLUMNS = (
    TableColumn("good/s", "goodput", digits=1),
    TableColumn("attain %", "attainment", 100, 1),
    TableColumn("right %", "right", 100, 1),
    TableColumn("worst %", "attainment_min", 100, 1),
    TableColumn("worst bound %", "attainment_min_bound", 100, 1, least_width=92),
    TableColumn("jain", "jain", digits=2, least_width=92),
    TableColumn("p99 ms", "p99_ms", digits=1),
    TableColumn("waste %", "wasted", 100, 1, least_width=100),
    TableColumn("batch", "batch_mean", digits=1, least_width=86),
    TableColumn("think µs", "decision_us_p99", least_width=108),
    TableColumn("headroom %", "headroom", 100, 1),
)
WIDE = 140  # into a file or a pipe: all columns


def shown(rows: Sequence[SummaryRow], baseline: str, width: int = WIDE) -> "RenderableType":
    """Returns all tables and the legend, with the columns that fit into `width` characters and have a value."""
    from rich.console import Group
    from rich.text import Text

    columns = [column for column in COLUMNS if column.least_width <= width and any_has(rows, column.metric)]
    parts: list[Any] = []
    for _, found in groupby(rows, key=lambda row: group(row.facts)):
        mine = list(found)
        parts += [Text(title(mine), style="bold"), drawn(mine, baseline, columns), Text()]
    return Group(*parts, Text(legend(baseline), style="dim"))


def heading(asked: "Comparison") -> str:
    """Returns what was run, in one line."""
    first, estimator = asked.scenarios[0], asked.estimator
    seconds = (first.requests[-1].arrived_ns - first.requests[0].arrived_ns) / 1e9
    expected = "each system's own estimator"
    if estimator is not None:
        options = ", ".join(f"{key} {value}" for key, value in (estimator.model_extra or {}).items())
        expected = f"{estimator.use.rsplit(':', 1)[1]} ({options})" if options else estimator.use
    what = f"{counted(len(asked.systems), 'system')} on {counted(len(asked.scenarios), 'trace')} of {seconds:.0f} s"
    return f"{first.name}: {what}; durations expected by {expected}"


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def any_has(rows: Sequence[SummaryRow], metric: str) -> bool:
    return any(row[metric] is not None for row in rows)


def title(rows: Sequence[SummaryRow]) -> str:
    """Returns what these rows share: arrivals, load, request rate, bound, seeds."""
    first = rows[0]
    bound = first["bound"]
    seeds = counted(len(first.seeds), "seed")
    most = f", at most {bound:.1f} of them on time ({first.bound_method})" if bound is not None else ""
    return f"{told(first.facts)} · {first['offered_rps']:.0f} requests/s{most} · {seeds}"


def told(facts: Mapping[str, Any]) -> str:
    """Returns arrivals and load as in `poisson · load 0.9`."""
    load = [f"load {facts['load']:g}"] if "load" in facts else []
    return " · ".join([*filter(None, [facts.get("arrivals")]), *load])


def drawn(rows: Sequence[SummaryRow], baseline: str, columns: Sequence[TableColumn]) -> "RenderableType":
    """Returns one table; the rows of the best system and of the baseline are marked."""
    from rich.text import Text

    best = rows[0].system
    lines = []
    for row in rows:
        name = f"{BEST if row.system == best else ' '}{OWN if row.system == baseline else ' '} {row.system}"
        cells = [name, *(column.cell(row) for column in columns), against(row.versus.get("attainment"))]
        style = "bold green" if row.system == best else "bold" if row.system == baseline else ""
        lines.append([Text(cell, style=style, no_wrap=True, overflow="ellipsis") for cell in cells])
    return table(("   system", *(f">{column.head}" for column in columns), ">± points"), lines)


def legend(baseline: str) -> str:
    return (
        f"{BEST} most goodput   {OWN} {baseline}, with which the others are compared: points of attainment more or less"
        " on the same requests, 95 % interval over seeds, in brackets where it has zero in it"
    )


def against(difference: Interval | None) -> str:
    """Returns points of attainment as in `-3.2 ±0.4`, in brackets where zero is in the interval; empty for None."""
    if difference is None:
        return ""
    if difference.low == difference.high:  # one seed says nothing about the spread
        return f"{100 * difference.mean:+.1f}"
    half = 50 * (difference.high - difference.low)
    said = f"{100 * difference.mean:+.1f} ±{half:.1f}"
    return said if difference.excludes(0) else f"({said})"
