"""Implements `leeway plan`, which predicts how many cameras a box can serve before they are bought."""

from pathlib import Path
from typing import Annotated

import typer

from cli.output import AsJson, emit

RANGE = "1..64"
WANTING = 1  # exit code when the cameras asked for do not hold their SLOs


def plan(
    config: Annotated[Path, typer.Option("--config", "-c", help="The edge.yaml to plan for.")] = Path("edge.yaml"),
    device: Annotated[
        str,
        typer.Option(
            help="[bold]this[/bold]: try it here for some seconds; a file that --save wrote on another box; or the "
            "kind of a device whose profiles are in the repository, e.g. cpu."
        ),
    ] = "this",
    cameras: Annotated[str, typer.Option(help="How many in all: a number, or a range to search, e.g. 4..64.")] = RANGE,
    fps: Annotated[float, typer.Option(min=0.01, max=1000, help="Frames per second of each camera.")] = 5.0,
    arrivals: Annotated[
        str, typer.Option(help="How frames come: periodic0.1 (a clock, a tenth of jitter), poisson, motion, …")
    ] = "periodic0.1",
    source: Annotated[
        str, typer.Option(help="Pictures to try it with: a folder, zip, video, or the drawn junction.")
    ] = "junction",
    seconds: Annotated[float, typer.Option(min=2, max=3600, help="How long to try it here.")] = 10.0,
    detections: Annotated[
        float, typer.Option(min=0, help="Items of each kind in a frame, where only profiles are known.")
    ] = 1.0,
    holds: Annotated[
        float, typer.Option(min=0.5, max=1, help="Share of each camera's frames in time for its SLO to hold.")
    ] = 0.99,
    duration: Annotated[float, typer.Option(min=2, max=3600, help="Virtual seconds to look ahead.")] = 20.0,
    system: Annotated[
        str | None, typer.Option(help="Plan with this serving system (a name or file) in place of the config's.")
    ] = None,
    helping: Annotated[
        bool, typer.Option("--changes/--no-changes", help="Also say what would help, and how much.")
    ] = True,
    save: Annotated[Path | None, typer.Option(help="Keep what this box took, to plan for it elsewhere.")] = None,
    as_json: AsJson = False,
) -> None:
    """Predict how many cameras hold their SLOs, which would miss first, and what would help.

    The daemon serves pictures on this machine for some seconds, without a broker. With what its runs took, cameras are
    put before the box in virtual time, under the very policy that the config names. Where the config watches for drift,
    a repair is assumed to go on all the time. Exit code 1: that many do not hold.

    [bold]Examples[/bold]

      leeway plan --cameras 8                       do these eight hold?

      leeway plan -c box.yaml --cameras 4..64       how many would?

      leeway plan --source shots/ --save orin.json  on the box of a friend

      leeway plan --device orin.json --cameras 8    at your desk
    """
    from cli.planning.options import check_save, wanted_of
    from cli.planning.run import known, look
    from cli.planning.tables import progress, said, shown
    from edge.systems import system as system_of
    from evaluation.capacity.search import CapacityQuestion

    chosen = None if system is None else system_of(system)
    asked = CapacityQuestion(
        config, fps=fps, arrivals=arrivals, detections=detections, duration_s=duration, system=chosen
    )
    wanted = wanted_of(cameras, asked)
    check_save(save, device)
    with progress(as_json) as tell:
        asked = known(asked, device, source, seconds, tell)
        if save is not None and asked.dry_run is not None:
            asked.dry_run.save(save)
        found = look(asked, wanted, holds, helping, tell)
    emit(said(found, wanted, asked, holds), shown(found, wanted, asked, holds), as_json)
    if not found.holds:
        raise typer.Exit(WANTING)
