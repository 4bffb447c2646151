"""Compares schedulers: which one this box should run, and how far it is from the best possible."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cli.output import complain, console

if TYPE_CHECKING:
    from rich.progress import Progress

    from cli.comparison.options import Comparison
    from evaluation.bounds.scenario_bounds import ScenarioBounds
    from evaluation.metrics.outcome import RunOutcome
    from evaluation.metrics.summary import SummaryRow

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=__doc__)

INTERRUPTED, TROUBLE = 130, 1
LOADS = "0.7,0.9,1.1"
STDOUT = "-"


class OptionalFile(TyperCommand):
    """Lets `--json` alone print and `--json FILE` write.

    Typer knows options with a value and options without, but none that may have one.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        alone = (i for i, word in enumerate(args) if word == "--json" and (args[i + 1 : i + 2] or ["--"])[0][:1] == "-")
        for at in sorted(alone, reverse=True):
            args = args if args[at + 1 : at + 2] == [STDOUT] else [*args[: at + 1], STDOUT, *args[at + 1 :]]
        return super().parse_args(ctx, args)


@app.callback()
def bench() -> None:
    """Show the module's help by Typer; the command does the work."""


@app.command(cls=OptionalFile)
def schedulers(
    preset: Annotated[str, typer.Option(help="A box and its work, ready made (default: edge4).")] = "",
    config: Annotated[Path | None, typer.Option(help="Your edge.yaml: its models as profiled, and its apps.")] = None,
    trace: Annotated[Path | None, typer.Option(help="A file of arrivals, on the preset's or your own models.")] = None,
    load: Annotated[
        str, typer.Option(help=f"1.0: the box is just busy all the time (default: {LOADS}; a trace as it is).")
    ] = "",
    arrivals: Annotated[str, typer.Option(help="How requests come: poisson, gamma4, periodic, …")] = "poisson,gamma4",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Traces of each kind; intervals are over them.")] = 5,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds of virtual time in each run.")] = 20.0,
    systems: Annotated[str, typer.Option(help="Names from --list, or YAML files (default: all).")] = "",
    baseline: Annotated[str, typer.Option(help="Whom the others are compared with (default: leeway).")] = "",
    estimator: Annotated[
        str, typer.Option(help="For all: table, or package.module:Class; own: each its own.")
    ] = "table",
    margin: Annotated[float, typer.Option(min=0.1, help="Of the table: 1.06 expects 6 % more than profiled.")] = 1.06,
    bound: Annotated[
        str,
        typer.Option(
            help="Of what is possible: quick; or close, tighter on one lane and for the worst model too, but slow: half"
            " a minute for each trace of 20 s."
        ),
    ] = "quick",
    labels: Annotated[
        float, typer.Option(min=0, max=1, help="Share of answers that somebody marks right or wrong.")
    ] = 0,
    json: Annotated[
        str | None, typer.Option("--json", metavar="[FILE]", help="Write JSON to this file; without one, to stdout.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with pictures to this file.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say what each system is, and stop.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: one for each core).")] = None,
) -> None:
    """Run every scheduler on the same requests in virtual time, beside the bound that none can exceed.

    A request is good when its answer comes by its deadline; one that was dropped or refused counts as missed.

    [bold]Examples[/bold]

      leeway bench schedulers --preset edge4 --load 0.7,0.9,1.1 --arrivals poisson,gamma4 --json out.json

      leeway bench schedulers --trace arrivals.csv --systems leeway,clockwork,nexus --html out.html

      leeway bench schedulers --list
    """
    from cli.comparison import options, run, system_cards
    from edge.systems import system as named
    from edge.systems import systems as known

    if list_:
        chosen = [named(name) for name in options.words(systems)] or [*known().values()]
        print_cards(system_cards.cards(chosen), json)
        return
    make, processes = run.source(preset, config, trace, arrivals, duration, margin)
    loads = [None] if trace and not load else options.numbers(load or LOADS, "--load")
    compared = options.comparison(
        [run.labelled(scenario, labels) for scenario in options.grid(make, loads, processes, seeds)],
        options.words(systems),
        options.estimator_of(estimator, margin),
        baseline,
        run.hint,
        bound,
    )
    raise typer.Exit(report(compared, workers, json, html))


def report(compared: "Comparison", workers: int | None, json: str | None, html: Path | None) -> int:
    """Runs a comparison, prints and writes its results, and returns the exit code. Raises `UserError`."""
    from rich.console import Console

    from cli.comparison.json_document import as_text, document, write
    from cli.comparison.tables import WIDE, heading, shown
    from evaluation.metrics.summary import kept_to_one, rows

    for file in (Path(json) if json not in (None, STDOUT) else None, html):
        check_place(file)  # now, not after ten minutes
    for note in compared.notes:
        complain(note)
    outcomes, whole = run(compared, workers, near=html is not None)
    found = rows(outcomes, compared.baseline)
    if alone := kept_to_one(outcomes):
        complain(note := f"kept to one variant of each model: {', '.join(alone)}")
        compared = replace(compared, notes=[*compared.notes, note])
    told = document(compared, found, outcomes, whole)
    if json == STDOUT:
        print(as_text(told), end="")
    else:
        screen = console() if sys.stdout.isatty() else Console(width=WIDE, highlight=False)
        screen.print(heading(compared), style="dim", end="\n\n")
        screen.print(shown(found, compared.baseline, screen.width))
    if json is not None and json != STDOUT:
        write(Path(json), as_text(told))
    if html is not None and found:
        write(html, page(compared, found, outcomes, told))
    return verdict(outcomes, whole)


def check_place(file: Path | None) -> None:
    """Raises `UserError` where no file can be written, before the runs are made."""
    if file is not None and (file.is_dir() or not file.resolve().parent.is_dir()):
        from porting.errors import UserError

        raise UserError(f"{file}: cannot be written; name a file in a folder that exists")


def verdict(outcomes: Sequence["RunOutcome"], whole: bool) -> int:
    """Reports once for each system what went wrong, and returns the exit code."""
    in_order = sorted(outcomes, key=lambda one: (one.index, one.system))  # processes end in any
    troubles = {one.system: one for one in reversed(in_order) if one.trouble}
    for name, one in sorted(troubles.items()):
        where = ", ".join(f"{key} {value}" for key, value in one.facts.items() if isinstance(value, str | int | float))
        complain(f"{name}: {one.trouble} ({where})")
    if not whole:
        complain(f"interrupted after {len(outcomes)} runs: means are over the seeds that had ended")
    return INTERRUPTED if not whole else TROUBLE if troubles else 0


def run(compared: "Comparison", workers: int | None, near: bool) -> tuple[list["RunOutcome"], bool]:
    """Returns what came of every run that ended, and whether all did: Ctrl-C leaves the rest out."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from evaluation.comparison import outcomes

    found: list[RunOutcome] = []
    systems, traces = len(compared.systems), len(compared.scenarios)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        close = compared.close() if near else ()
        try:
            bounds = bounds_of(compared, workers, progress)
            ran = outcomes(compared.scenarios, compared.systems, compared.estimator, workers, close, bounds)
            for outcome in progress.track(ran, systems * traces, description=f"{systems} systems on {traces} traces"):
                found.append(outcome)
        except KeyboardInterrupt:
            return found, False
    return found, True


def bounds_of(compared: "Comparison", workers: int | None, progress: "Progress") -> list["ScenarioBounds"]:
    """Returns the bounds of each scenario; none where they are quick, as each process computes those on its own."""
    from evaluation.bounds.scenario_bounds import QUICK
    from evaluation.comparison import bounds_by_index

    if compared.bound == QUICK:
        return []
    count = len(compared.scenarios)
    told = bounds_by_index(compared.scenarios, compared.bound, workers)
    found = dict(progress.track(told, count, description=f"{compared.bound} bounds of {count} traces"))
    return [found[index] for index in range(count)]


def page(
    compared: "Comparison", rows: Sequence["SummaryRow"], outcomes: Sequence["RunOutcome"], told: Mapping[str, Any]
) -> str:
    """Returns the report as HTML, with details of the runs that have them."""
    from cli.comparison_report import page
    from cli.comparison_report.comparison_data import ComparisonData

    near: dict[str, dict[str, Any]] = {}
    for one in outcomes:
        if one.drilldown is not None:
            near.setdefault(one.facts["arrivals"], {})[one.system] = one.drilldown
    near = {name: near[name] for name in dict.fromkeys(row.facts["arrivals"] for row in rows) if name in near}
    return page.page(ComparisonData(rows, compared.baseline, near, told))


def print_cards(found: list[dict[str, Any]], json: str | None) -> None:
    """Prints what each system is, as text or as JSON."""
    from rich.text import Text

    from cli.comparison.json_document import as_text
    from cli.comparison.system_cards import lines

    if json:
        print(as_text({"systems": found}), end="")
        return
    for style, line in lines(found):
        console().print(Text(line, style=style))
