"""`leeway plan`: can this box cope, before the cameras are bought?"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import AsJson, emit, table
from porting.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress

    from edge.capacity import Change, Coping, Question
    from edge.rehearsal import Rehearsed

PICTURES = 60  # that a rehearsal takes in turn
VIEWS = 4  # cameras whose pictures they are


def plan(
    config: Annotated[Path, typer.Option("--config", "-c", help="The edge.yaml to plan for.")] = Path("edge.yaml"),
    device: Annotated[
        str,
        typer.Option(
            help="[bold]this[/bold]: try it here for some seconds; a file that --save wrote on another box; or the "
            "kind of a device whose profiles are in the repository, e.g. cpu."
        ),
    ] = "this",
    cameras: Annotated[str, typer.Option(help="How many: a number, or a range to search, e.g. 4..64.")] = "1..64",
    fps: Annotated[float, typer.Option(min=0.01, max=1000, help="Frames per second of each camera.")] = 5.0,
    source: Annotated[
        str, typer.Option(help="Pictures to try it with: a folder, zip, video, or the drawn junction.")
    ] = "junction",
    seconds: Annotated[float, typer.Option(min=2, help="How long to try it here.")] = 10.0,
    finds: Annotated[
        float, typer.Option(min=0, help="Items of each kind in a frame, where only profiles are known.")
    ] = 1.0,
    holds: Annotated[
        float, typer.Option(min=0.5, max=1, help="Share of each camera's frames in time for its SLO to hold.")
    ] = 0.99,
    duration: Annotated[float, typer.Option(min=2, help="Virtual seconds to look ahead.")] = 20.0,
    help_: Annotated[
        bool, typer.Option("--changes/--no-changes", help="Also say what would help, and how much.")
    ] = True,
    save: Annotated[Path | None, typer.Option(help="Keep what this box took, to plan for it elsewhere.")] = None,
    as_json: AsJson = False,
) -> None:
    """Can the box cope? How many cameras hold their SLOs, who would miss first, and what would help.

    The daemon serves pictures on this machine for some seconds, without a broker; with what its runs took, cameras are
    put before the box in virtual time, more and more of them, under the very policy that the config names.

    [bold]Examples[/bold]

      leeway plan -c examples/junction/edge.yaml --cameras 4..64

      leeway plan -c edge.yaml --source shots/ --fps 10 --save orin.json      on the box that a friend has

      leeway plan -c edge.yaml --device orin.json --cameras 8                  at your desk
    """
    from edge.capacity import Question

    least, most = numbers(cameras)
    asked = Question(config, fps=fps, finds=finds, duration_s=duration)
    with progress(as_json) as bars:
        asked = before(asked, device, source, seconds, bars)
        if save is not None and asked.rehearsed is not None:
            asked.rehearsed.save(save)
        best, tried, helping = answer(asked, least, most, holds, help_, bars)
    value = {
        "cameras": best if best >= least else None,
        "fps": fps,
        "holds": holds,
        "tried": tried,
        "changes": helping,
        "rehearsed": told(asked.rehearsed),
    }
    emit(value, shown(value, tried, helping, least, most), as_json)


def numbers(words: str) -> tuple[int, int]:
    """Raises `UserError`."""
    low, dots, high = words.partition("..")
    try:
        least, most = int(low), int(high if dots else low)
    except ValueError:
        raise UserError(f"--cameras {words}: write a number, or a range such as 4..64") from None
    if not 1 <= least <= most <= 10_000:
        raise UserError(f"--cameras {words}: from 1 up to 10000, the smaller number first")
    return least, most


def progress(quiet: bool) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)


def before(asked: "Question", device: str, source: str, seconds: float, bars: "Progress") -> "Question":
    """With what is known of the device. Raises `UserError`."""
    from edge.config import load
    from edge.rehearsal import load as load_rehearsed
    from edge.rehearsal import rehearse

    if device.endswith(".json"):
        return replace(asked, rehearsed=load_rehearsed(Path(device)))
    if device != "this":
        return replace(asked, device=device)
    bar = bars.add_task(f"trying it here for {seconds:.0f} s", total=1.0)
    config, shots = load(asked.path), pictures(source)
    found = rehearse(config, shots, seconds, lambda share: bars.update(bar, completed=share))
    return replace(asked, rehearsed=found)


def pictures(source: str) -> list[bytes]:
    """JPEG of some cameras' first frames. Raises `UserError`."""
    from edge.sources.pictures import End, opened

    found: list[bytes] = []
    for number in range(VIEWS):
        view = opened(source, loop=True, camera=number, cameras=VIEWS, fps=5.0, options={})
        try:
            found += [shot.jpeg for index in range(PICTURES // VIEWS) if (shot := view.at(index)) is not None]
        except End:
            continue
    if not found:
        raise UserError(f"--source {source}: no picture in it could be read")
    return found


def answer(
    asked: "Question", least: int, most: int, holds: float, helping: bool, bars: "Progress"
) -> "tuple[int, list[Coping], list[Change]]":
    from edge import capacity
    from edge.systems import system

    bar = bars.add_task("looking ahead", total=None)

    def tell(coping: "Coping") -> None:
        bars.update(bar, description=f"looking ahead: {coping.cameras} cameras, {coping.worst_attainment:.1%} in time")

    best, tried = capacity.most(asked, least, most, holds, tell)
    if best >= least and most > least and len(tried) and best < most:
        tried.append(capacity.cope(asked, round(1.3 * best)))
    found: list[Change] = []
    if helping:
        others = [] if default(asked) else [system("leeway")]
        for change in capacity.changes(asked, max(best, 1), most, others, holds):
            bars.update(bar, description=f"what would help: {change.words}")
            found.append(change)
    return best, sorted({each.cameras: each for each in tried}.values(), key=lambda each: each.cameras), found


def default(asked: "Question") -> bool:
    """Does the config have Leeway's own policy already?"""
    from edge.config import load
    from edge.systems import system

    return load(asked.path).policy.use == system("leeway").policy.use


def told(rehearsed: "Rehearsed | None") -> dict[str, Any] | None:
    """What a rehearsal came to, in short."""
    if rehearsed is None:
        return None
    return {"frames": rehearsed.frames, "seconds": rehearsed.duration_s, "finds": rehearsed.means()}


def shown(value: dict[str, Any], tried: "list[Coping]", helping: "list[Change]", least: int, most: int) -> Any:
    from rich.console import Group

    columns = [">cameras", ">load", ">in time", ">worst camera", ">p50 ms", ">p99 ms", ">busy", "first miss"]
    rows = [row(each) for each in tried]
    parts: list[Any] = [table(columns, rows), "", verdict(value, least, most)]
    if helping:
        best = value["cameras"] or 0
        changes = [(each.words, each.cameras, f"{each.cameras - best:+d}") for each in helping]
        parts += ["", table(["what would help", ">cameras", ">more"], changes)]
    return Group(*parts)


def row(each: "Coping") -> list[object]:
    miss = "none" if each.first_miss is None else f"{each.first_miss}, after {each.first_miss_s:.1f} s"
    latencies = ("-" if ms is None else f"{ms:.1f}" for ms in (each.p50_ms, each.p99_ms))
    shares = (f"{each.attainment:.1%}", f"{each.worst_attainment:.1%}")
    return [each.cameras, f"{each.load:.2f}", *shares, *latencies, f"{each.utilisation:.0%}", miss]


def verdict(value: dict[str, Any], least: int, most: int) -> str:
    best, fps, holds = value["cameras"], value["fps"], value["holds"]
    if best is None:
        return (
            f"not even {least} at {fps:g} frames a second: {holds:.0%} of each camera's frames in time is not reached"
        )
    words = f"{best} cameras at {fps:g} frames a second hold their SLOs ({holds:.0%} of each one's frames in time)"
    return f"{words}; more were not asked for" if best == most else words
