"""Formats what was found, for people and for programs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.output import table
from cli.planning.options import Wanted
from cli.planning.run import SearchResult, Tell
from evaluation.capacity.dry_run import DryRun
from evaluation.capacity.search import CapacityQuestion, Coping

PROFILES = "not tried: profiles know the graphs alone, not decoding and what else the daemon does beside them"


@contextmanager
def progress(quiet: bool) -> Iterator[Tell]:
    """Shows a line on stderr with what is being done, and the share of it where that is known."""
    columns = (TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
    off = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=off) as bars:
        bar = bars.add_task("reading", total=None)
        yield lambda words, share: bars.update(
            bar, description=words, completed=share or 0.0, total=None if share is None else 1.0
        )


def said(found: SearchResult, wanted: Wanted, asked: CapacityQuestion, holds: float) -> dict[str, Any]:
    """Returns the result for programs."""
    return {
        "cameras": found.best or None,
        "asked": [wanted.least, wanted.most],
        "holds": found.holds,
        "share": holds,
        "fps": asked.fps,
        "arrivals": asked.arrivals,
        "headroom": {"cameras": found.headroom_of, "times": found.headroom},
        "tried": found.rows,
        "changes": found.changes,
        "rehearsed": None if asked.dry_run is None else briefly(asked.dry_run),
    }


def briefly(dry_run: DryRun) -> dict[str, Any]:
    return {"frames": dry_run.frames, "seconds": dry_run.duration_s, "finds": dry_run.means()}


def shown(found: SearchResult, wanted: Wanted, asked: CapacityQuestion, holds: float) -> Any:
    """Returns the result for people."""
    columns = [">cameras", ">load", ">in time", ">worst", ">p50 ms", ">p99 ms", ">busy", "first miss"]
    parts: list[Any] = [table(columns, map(row, found.rows)), "", *lines(found, wanted, asked, holds)]
    parts.append(PROFILES if asked.dry_run is None else tried(asked.dry_run))
    if helping := [(each.words, each.cameras, f"{each.more:+d}") for each in found.changes if each.more > 0]:
        parts += ["", table(["what would help", ">cameras", ">more"], helping)]
    if idle := [each.words for each in found.changes if each.more <= 0]:
        parts += ["", f"what would not: {'; '.join(idle)}"]
    return Group(*parts)


def row(each: Coping) -> list[object]:
    miss = "none" if each.first_miss is None else f"{each.first_miss}, {each.first_miss_s:.1f} s"
    latencies = ("-" if ms is None else f"{ms:.1f}" for ms in (each.p50_ms, each.p99_ms))
    shares = (f"{each.attainment:.1%}", f"{each.worst_attainment:.1%}")
    return [each.cameras, f"{each.load:.2f}", *shares, *latencies, f"{each.busy:.0%}", miss]


def lines(found: SearchResult, wanted: Wanted, asked: CapacityQuestion, holds: float) -> Iterator[str]:
    """Yields the sentences under the table."""
    rate, share = f"{asked.fps:g} frames a second", f"{holds:.0%} of each camera's frames in time"
    if found.holds:
        number = wanted.least if wanted.one else found.best
        yield f"{plural(number)} at {rate} {'holds its' if number == 1 else 'hold their'} SLOs: {share}"
        if number < found.best:
            yield f"most: {found.best} would"
        elif number == wanted.most and not wanted.one:
            yield "most: not found out, more were not asked for"
    else:
        yield f"{plural(wanted.least)} at {rate}: too much for {share}"
        if wanted.one:
            yield f"most: {found.best or 'not even one'}"
    yield headroom_line(found, asked.fps)


def headroom_line(found: SearchResult, fps: float) -> str:
    """Returns the sentence about headroom."""
    times, who = found.headroom, plural(found.headroom_of)
    if times is None:
        return f"headroom: none; {who} do not hold at a twentieth of the rate either"
    rate = f"{times * fps:.3g} frames a second"
    if times < 1:
        return f"headroom: none; {who} would hold at {rate}"
    return f"headroom: {times - 1:.0%}; {who} would hold at {rate}" if times > 1.001 else "headroom: below 5%"


def tried(dry_run: DryRun) -> str:
    detections = " and ".join(f"{mean:.1f} {kind}" for kind, mean in dry_run.means().items())
    found = f", {detections} in a frame" if detections else ""
    return f"tried: {dry_run.frames} frames in {dry_run.duration_s:g} s{found}"


def plural(cameras: int) -> str:
    return "1 camera" if cameras == 1 else f"{cameras} cameras"
