"""Draws the pictures of a demo run with matplotlib: SVG for the page, PNG for a README."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.drawing import canvas
from cli.drawing.canvas import NARROW_IN, WIDE_IN, styled
from cli.drawing.palette import LIGHT
from cli.run_report.recording import series
from cli.run_report.recording.folder import RunFolder
from cli.run_report.recording.intervals import AccuracyEstimate
from cli.run_report.recording.matching import Score, models
from cli.run_report.recording.phases import PHASES, measure, times_of
from cli.run_report.summary import model_spans

MARKS = {"alarm": "v", "audit": "D", "promotion": "^", "rollback": "X"}


@dataclass(frozen=True, slots=True)
class PictureData:
    """Holds all that a picture may show. `beside`: the same run without adaptation, drawn as a
    second line where given.
    """

    run: RunFolder
    score: Score
    beside: tuple[RunFolder, Score] | None = None


Draw = Callable[[PictureData, float], Any]
README = ("accuracy", "latency", "frames")


def accuracy_over_time(scene: PictureData, width_in: float) -> Any:
    """Draws one row per model: the curve with its band, the drift's shade, the journal's marks, each phase's mean."""
    names = [name for name in models(scene.run.settings) if any(t.model == name for t in scene.score.tallies)]
    figure, rows = _figure(max(1, len(names)), width_in, height_in=1.9)
    if not names:
        return _nothing(figure, rows[0], "no frame could be judged")
    for axes, name in zip(rows, names, strict=True):
        _model_row(axes, scene, name)
        _time_axis(axes, scene.run, last=name == names[-1])
    _legend_of_marks(figure, scene, names)
    return figure


def _model_row(axes: Any, scene: PictureData, name: str) -> None:
    run = scene.run
    axes.set_title(
        name + (" (F1)" if name == run.settings.get("detector") else ""), loc="left", fontweight="bold", fontsize=10.5
    )
    if run.drift_s is not None:
        axes.axvspan(run.drift_s, run.duration_s, color=LIGHT["drift"], lw=0, zorder=0)
    floor = 1.0
    if scene.beside is not None:
        floor = _curve(axes, *scene.beside, name, LIGHT["second"], dashed=True)
    floor = min(floor, _curve(axes, run, scene.score, name, LIGHT["line"]))
    low = max(0.0, math.floor((floor - 0.02) * 10) / 10)
    axes.set_ylim(low, 1.0 + (1.0 - low) * 0.2)
    axes.set_yticks([low, (1 + low) / 2, 1.0], [f"{100 * y:.0f} %" for y in (low, (1 + low) / 2, 1.0)])
    for kind, shape in MARKS.items():
        at = times_of(run, name, kind)
        height = 1.0 + (1.0 - low) * (0.13 if kind == "alarm" else 0.06)  # an audit follows its alarm at once
        axes.plot(at, [height] * len(at), shape, ms=7, color=LIGHT[kind], mec=LIGHT["paper"], mew=0.8, ls="")
        if kind in ("promotion", "rollback"):
            for x in at:
                axes.axvline(x, color=LIGHT[kind], lw=1, alpha=0.7)
    _phase_means(axes, scene, name, low)


def _curve(axes: Any, run: RunFolder, score: Score, name: str, colour: str, dashed: bool = False) -> float:
    """Draws the curve, returns the least value that must be seen."""
    cuts = [*([run.drift_s] if run.drift_s is not None else []), *times_of(run, name, "promotion")]
    points = series.curve([t for t in score.tallies if t.model == name], run.duration_s, cuts)
    if not points:
        return 1.0
    x = [at for at, _ in points]
    values = [p.value or 0.0 for _, p in points]
    low, high = [_or(p.low, p.value) for _, p in points], [_or(p.high, p.value) for _, p in points]
    axes.plot(x, values, color=colour, lw=1.4 if dashed else 1.8, ls=(0, (4, 2)) if dashed else "-")
    if not dashed:
        axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
    return min(values if dashed else low)


def _or(value: float | None, other: float | None) -> float:
    return value if value is not None else other or 0.0


def _phase_means(axes: Any, scene: PictureData, name: str, low: float) -> None:
    parts = model_spans(scene.run, name)
    phases = measure([t for t in scene.score.tallies if t.model == name], parts)
    for phase in PHASES:
        span, mean = getattr(parts, phase), phases[phase]
        if span is None or mean.value is None or span[1] <= span[0]:
            continue
        axes.hlines(mean.value, *span, color=LIGHT["ink"], lw=1, ls=":")
        _label(axes, sum(span) / 2, mean, low)


def _label(axes: Any, x: float, mean: AccuracyEstimate, low: float) -> None:
    """Writes a phase's mean under the curve where there is room, else above it."""
    value = mean.value or 0.0
    under = value - low > 0.3 * (1 - low)
    axes.annotate(
        f"{100 * value:.0f} %",
        (x, _or(mean.low, value) if under else _or(mean.high, value)),
        xytext=(0, -7 if under else 7),
        textcoords="offset points",
        ha="center",
        va="top" if under else "bottom",
        fontsize=10,
        fontweight="bold",
    )


def _legend_of_marks(figure: Any, scene: PictureData, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    seen = [kind for kind in MARKS if any(times_of(scene.run, name, kind) for name in names)]
    handles: list[Any] = [Line2D([], [], color=LIGHT["line"], lw=1.8, label="adapted" if scene.beside else "accuracy")]
    if scene.beside is not None:
        handles.append(Line2D([], [], color=LIGHT["second"], lw=1.4, ls=(0, (4, 2)), label="frozen"))
    if scene.run.drift_s is not None:
        drift = scene.run.settings.get("drift")
        handles.append(Patch(color=LIGHT["drift"], label=f"drift: {drift}" if isinstance(drift, str) else "drift"))
    handles += [Line2D([], [], color=LIGHT[k], marker=MARKS[k], ls="", ms=7, label=k) for k in seen]
    _legend(figure, handles)


def latency_over_time(scene: PictureData, width_in: float) -> Any:
    """Draws p50 and p99 per bin against the SLO, a dot for each late frame, and a mark where frames were dropped."""
    run = scene.run
    figure, (axes,) = _figure(1, width_in, height_in=2.9)
    found = series.answers(run)
    if not found:
        return _nothing(figure, axes, "no answer tells its latency")
    bins = series.latency(found)
    x = [b.at_s for b in bins]
    axes.fill_between(x, [b.p50_ms for b in bins], [b.p99_ms for b in bins], color=LIGHT["line"], alpha=0.15, lw=0)
    axes.plot(x, [b.p99_ms for b in bins], color=LIGHT["line"], lw=1.8, label="p99")
    axes.plot(x, [b.p50_ms for b in bins], color=LIGHT["line"], lw=1.4, ls=(0, (1, 1)), label="p50")
    late = [a for a in found if not a.met]
    if late:
        axes.plot(
            [a.at_s for a in late], [a.total_ms for a in late], "o", ms=4, color=LIGHT["rollback"], label="late", ls=""
        )
    lost = series.drops(run)
    top = series.latency_top(run.slo_ms, found)
    if lost:
        size = [12 + 6 * math.sqrt(n) for _, n in lost]
        axes.scatter(
            [at for at, _ in lost],
            [top * 0.96] * len(lost),
            s=size,
            marker="x",
            color=LIGHT["alarm"],
            lw=1.2,
            label="dropped",
        )
    if run.slo_ms is not None:  # named in the legend: words on the line would hide frames that just missed it
        axes.axhline(run.slo_ms, color=LIGHT["rollback"], lw=1.2, label=f"SLO {run.slo_ms:g} ms")
    axes.set_ylim(0, top)
    axes.set_ylabel("ms")
    _time_axis(axes, run)
    _legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def time_of_device(scene: PictureData, width_in: float) -> Any:
    """Draws what the device did, second by second, stacked to its whole time."""
    figure, (axes,) = _figure(1, width_in, height_in=2.7)
    parts = series.slices(scene.run)
    if not parts:
        return _nothing(figure, axes, "no stats message tells the time split")
    named = [*series.ACTIVITIES[:-1], *sorted({n for s in parts for n in s.shares} - set(series.ACTIVITIES)), "idle"]
    active = [name for name in named if any(s.shares.get(name, 0.0) > 0.0005 for s in parts)]
    # Each slice is a step: its share holds from its start to its end.
    x = [at for part in parts for at in (part.start_s, part.end_s)]
    y = [[share for part in parts for share in [part.shares.get(name, 0.0)] * 2] for name in active]
    axes.stackplot(x, y, labels=active, colors=[LIGHT.get(name, LIGHT["second"]) for name in active], lw=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    _marks_below(axes, scene.run)
    _time_axis(axes, scene.run)
    _legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def _marks_below(axes: Any, run: RunFolder) -> None:
    if run.drift_s is not None:
        axes.axvline(run.drift_s, color=LIGHT["ink"], lw=1, ls=":")
        axes.annotate("drift", (run.drift_s, 0.97), xytext=(4, 0), textcoords="offset points", va="top")


PICTURES: dict[str, Draw] = {
    "accuracy": accuracy_over_time,
    "latency": latency_over_time,
    "device-time": time_of_device,
}


# ---- canvas --------------------------------------------------------------------------------------------------------


def _figure(rows: int, width_in: float, height_in: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in * rows + 0.4), layout="constrained")
    return figure, list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])


def _time_axis(axes: Any, run: RunFolder, last: bool = True) -> None:
    axes.set_xlim(0, max(run.duration_s, 1.0))
    axes.grid(visible=False, axis="x")
    if last:
        axes.set_xlabel("seconds")


def _legend(figure: Any, handles: Sequence[Any]) -> None:
    columns = len(handles) if figure.get_figwidth() > NARROW_IN else 3
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1.6, columnspacing=1.3)


def _nothing(figure: Any, axes: Any, why: str) -> Any:
    figure.set_size_inches(figure.get_figwidth(), 0.7)
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"no data: {why}", ha="center", va="center", color=LIGHT["muted"], transform=axes.transAxes)
    return figure


def svg(name: str, scene: PictureData, width_in: float) -> str:
    """Returns one picture as inline SVG."""
    return canvas.svg(lambda: PICTURES[name](scene, width_in), f"{name}-{width_in}")


def write_images(scene: PictureData, folder: Path, drawn: Mapping[str, Draw]) -> list[Path]:
    """Writes PNGs on white for a README, 9.2 in wide at 110 dpi, each under its name; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in README:
        with styled(**{"figure.facecolor": "white", "savefig.facecolor": "white"}):
            figure = drawn[name](scene, WIDE_IN)
            written.append(folder / f"report-{name}.png")
            figure.savefig(written[-1], dpi=110)
    return written
