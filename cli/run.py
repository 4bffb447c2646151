"""Implements `leeway run`, the daemon."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import AsJson, emit, table


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The edge.yaml to serve.")] = Path("edge.yaml"),
    duration: Annotated[
        float, typer.Option(min=0, help="Stop by itself after this many seconds; 0: run until told to.")
    ] = 0.0,
    trace: Annotated[Path | None, typer.Option(help="Write every event and action as JSON lines to this file.")] = None,
    check_state: Annotated[
        bool,
        typer.Option("--check-state", help="Check every invariant after each event, and stop where one is broken."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve the models of an edge.yaml until told to stop (Ctrl-C or SIGTERM), then print the books.

    Frames come from the topic PREFIX/NODE/CAMERA/frame, answers go to PREFIX/NODE/CAMERA/APP/result, and the state of
    the box to PREFIX/NODE/stats every second. A frame that is not answered is counted with its reason.

    [bold]Example[/bold]: mosquitto -p 1883 &  leeway run --config examples/junction/edge.yaml
    """
    from edge.config import load
    from edge.daemon import serve
    from edge.observers.state_check import StateCheck

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    settings = load(config)
    if trace is not None:
        settings = settings.model_copy(update={"trace": trace})
    more = [StateCheck()] if check_state else []
    last = serve(settings, duration_s=duration or None, on_ready=lambda daemon: daemon.observers.extend(more))
    emit(last, books(last), as_json)


def books(last: dict[str, Any]) -> Any:
    """Returns a table with one row per camera; the last row is the whole box."""
    columns = ["camera", ">in", ">answered", ">dropped", ">in time", ">p99 ms", "why dropped"]
    rows = [stream_row(name, stream, stream["p99_ms"]) for name, stream in last["streams"].items()]
    whole = {**last["frames"], "attainment": last["slo"]["attainment"]}
    return table(columns, [*rows, stream_row("all", whole, last["latency_ms"]["p99"])])


def stream_row(name: str, stream: dict[str, Any], p99_ms: float | None) -> list[object]:
    """Returns the cells of one camera's row."""
    dropped, attainment = stream["dropped"], stream["attainment"]
    return [
        name,
        stream["in"],
        stream["answered"],
        sum(dropped.values()),
        "-" if attainment is None else f"{attainment:.1%}",
        "-" if p99_ms is None else f"{p99_ms:.1f}",
        ", ".join(f"{reason} {number}" for reason, number in sorted(dropped.items())),
    ]
