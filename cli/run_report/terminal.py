"""Prints the report in short on a terminal: SLOs, what each model lost and regained, where the time went."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.drawing.tile import millis, percent
from cli.run_report.headline import ATTAINMENT_GOAL, REGAINED_GOAL, hit
from cli.run_report.recording.phases import PHASES

EVENTS = ("alarms", "audits", "promotions", "rollbacks")


def report_table(report: Mapping[str, Any]) -> RenderableType:
    """Returns the tables of one run."""
    parts: list[RenderableType] = [Text(report["headline"], style="bold"), Text(), _promises(report), _models(report)]
    return Group(*parts, *_events(report), *_notes(report))


def _promises(report: Mapping[str, Any]) -> Table:
    frames, slo, latency = report["frames"], report["slo"], report["latency_ms"]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(frames["dropped"].items()) if n)
    dropped = f"{frames['dropped_total']:,} dropped" + (f" ({reasons})" if reasons else "")
    table.add_row("frames", f"{frames['in']:,} in = {frames['answered']:,} answered + {dropped}")
    table.add_row("in time", _judged(percent(slo["attainment"], 2), slo["attainment"], ATTAINMENT_GOAL))
    table.add_row("latency", f"p50 {millis(latency['p50'])}, p99 {millis(latency['p99'])}, SLO {millis(slo['ms'])}")
    table.add_row("device", ", ".join(f"{name} {percent(v, 1)}" for name, v in report["time_share"].items() if v))
    return table


def _judged(words: str, value: float | None, goal: float) -> Text:
    return Text(words, style="" if value is None else "green" if value >= goal else "red")


def _models(report: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("model", no_wrap=True)
    for name in (*PHASES, "regained", "noticed", "repaired"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, m in report["models"].items():
        # Without a promotion nothing was repaired: a share of the loss would only say how the traffic changed.
        regained: str | Text = percent(m["regained_share"] if m["promotions"] else None)
        if name == hit(report) and m["promotions"]:
            regained = _judged(percent(m["regained_share"]), m["regained_share"], REGAINED_GOAL)
        accuracies = [percent(m["accuracy"][phase], 1) for phase in PHASES]
        delays = [_seconds(m["detection_delay_s"]), _seconds(m["repair_delay_s"])]
        table.add_row(name, *accuracies, regained, *delays)
    return table


def _events(report: Mapping[str, Any]) -> list[Text]:
    """Returns one line for each model that had any events: `vehicles: 2 alarms, 1 audit`."""
    lines = {name: counted(m) for name, m in report["models"].items()}
    return [Text(f"{name}: {words}") for name, words in lines.items() if words]


def counted(model: Mapping[str, Any]) -> str:
    some = [(int(model.get(what) or 0), what) for what in EVENTS]
    return ", ".join(f"{n} {what if n > 1 else what[:-1]}" for n, what in some if n)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _notes(report: Mapping[str, Any]) -> list[Text]:
    return [Text(f"note: {note}", style="dim") for note in report["notes"]]
