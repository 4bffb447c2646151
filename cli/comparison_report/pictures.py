"""Draws the pictures of a comparison of schedulers: lines against load, dots, curves, strips, a timeline."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.comparison_report.comparison_data import ComparisonData
from cli.drawing.canvas import NARROW_IN
from cli.drawing.palette import LIGHT
from evaluation.metrics.drilldown import STEPS, Drilldown, Span
from evaluation.metrics.summary import SummaryRow

# Roles of the palette that can be told apart, in light and in dark.
OF_SYSTEMS = ("line", "alarm", "promotion", "audit", "rollback", "loading", "muted")
OF_MODELS = ("inference", "alarm", "training", "labelling", "loading", "rollback", "second")
SIZES = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 10**9))  # of batches: from, to
TIMELINE_MAX = 6  # systems
HEIGHT = 0.78  # of a row of it, for all lanes
OTHERS = LIGHT["second"]
THIN: dict[str, Any] = {"lw": 0.9, "alpha": 0.5}


def colours(bench: ComparisonData) -> dict[str, str]:
    return {name: LIGHT[role] for name, role in zip(bench.shown(), OF_SYSTEMS, strict=False)}


def model_colours(bench: ComparisonData) -> dict[str, str]:
    models = bench.models()
    return {model: LIGHT[OF_MODELS[i % len(OF_MODELS)]] for i, model in enumerate(models)}


# ---- against load ----------------------------------------------------------------------------------------------------


def goodput(bench: ComparisonData, width_in: float) -> Any:
    return against_load(bench, width_in, "goodput", 1.0, "good requests/s", bound="bound")


def worst(bench: ComparisonData, width_in: float) -> Any:
    return against_load(bench, width_in, "attainment_min", 100.0, "%", bound="attainment_min_bound")


def against_load(bench: ComparisonData, width_in: float, metric: str, scale: float, unit: str, bound: str) -> Any:
    """Draws a panel for each arrival process: shown systems in colour, the others grey, the metric `bound` dashed."""
    figure, panels = paned(len(bench.arrivals()), width_in, 3.4, sharey=True)
    coloured = colours(bench)
    bounded = any(row[bound] is not None for row in bench.rows)
    for axes, arrivals in zip(panels, bench.arrivals(), strict=True):
        axes.set_title(arrivals, loc="left", fontweight="bold", fontsize=10.5)
        if bounded:
            line(axes, bench, arrivals, bench.baseline, bound, scale, LIGHT["ink"], ls=(0, (4, 2)), lw=1.2)
        for name in sorted(bench.ranked(), key=lambda name: name in coloured):
            line(axes, bench, arrivals, name, metric, scale, coloured.get(name, OTHERS), **stroke(bench, name))
        axes.set_xlabel("load")
        axes.set_xticks(bench.loads())
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel(unit)
    legend(figure, bench, coloured, bounded)
    return figure


def stroke(bench: ComparisonData, name: str) -> dict[str, float]:
    """Returns the style of a system's line: the baseline thick, shown ones in front, the others thin behind."""
    if name not in bench.shown():
        return THIN
    return {"lw": 2.4 if name == bench.baseline else 1.5, "zorder": 3}


def line(
    axes: Any, bench: ComparisonData, arrivals: str, name: str, metric: str, scale: float, colour: str, **style: Any
) -> None:
    """Draws one system's metric against load, with a band for the interval where the style has a `zorder`."""
    rows = [row for row in bench.rows if row.system == name and row.facts["arrivals"] == arrivals]
    found = [(row.facts["load"], row.numbers[metric]) for row in rows]
    known = [(load, number) for load, number in found if number is not None]
    x = [load for load, _ in known]
    axes.plot(x, [scale * number.mean for _, number in known], color=colour, **style)
    if style.get("zorder"):
        low, high = ([scale * getattr(number, end) for _, number in known] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)


def legend(figure: Any, bench: ComparisonData, coloured: Mapping[str, str], bound: bool = False) -> None:
    """Adds the legend of systems above the panels, with the others in grey and the bound where they are drawn."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, lw=2.4 if name == bench.baseline else 1.5, label=name)
        for name, colour in coloured.items()
    ]
    if len(bench.ranked()) > len(coloured):
        handles.append(Line2D([], [], color=OTHERS, **THIN, label="others"))
    if bound:
        handles.append(Line2D([], [], color=LIGHT["ink"], lw=1.2, ls=(0, (4, 2)), label="bound"))
    columns = 5 if figure.get_figwidth() > NARROW_IN else 2
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1.6, columnspacing=1.3)


# ---- at the focus ----------------------------------------------------------------------------------------------------


def models(bench: ComparisonData, width_in: float) -> Any:
    """Draws the attainment at the focus load: one row for each system, one dot for each model."""
    most = max(len(bench.at(arrivals, bench.focus())) for arrivals in bench.arrivals())
    figure, panels = paned(len(bench.arrivals()), width_in, 0.7 + 0.22 * most)
    coloured = model_colours(bench)
    for axes, arrivals in zip(panels, bench.arrivals(), strict=True):
        rows = bench.at(arrivals, bench.focus())[::-1]
        axes.set_title(arrivals, loc="left", fontweight="bold", fontsize=10.5)
        for y, row in enumerate(rows):
            shares = row.attainment_of
            axes.hlines(y, 100 * min(shares.values()), 100 * max(shares.values()), color=LIGHT["grid"], lw=2, zorder=1)
            for model, share in shares.items():
                axes.plot(100 * share, y, "o", ms=5.5, color=coloured[model], mec=LIGHT["paper"], mew=0.6, zorder=2)
        names(axes, rows, bench)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("% in time")
    keyed(figure, coloured, "o")
    return figure


def names(axes: Any, rows: Sequence[SummaryRow], bench: ComparisonData) -> None:
    """Labels the rows with the systems' names, the baseline in bold."""
    axes.set_yticks(range(len(rows)), [row.system for row in rows], fontsize=9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row.system == bench.baseline:
            label.set_fontweight("bold")
            label.set_color(LIGHT["ink"])


def keyed(figure: Any, coloured: Mapping[str, str], shape: str) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=shape, ls="", ms=7, label=name) for name, c in coloured.items()]
    columns = len(handles) if figure.get_figwidth() > NARROW_IN else 4
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handletextpad=0.3, columnspacing=1.2)


def latency(bench: ComparisonData, width_in: float) -> Any:
    """Draws the share of offered requests answered within a time, at the focus load, in a panel per arrival process."""
    figure, panels = paned(len(bench.near), width_in, 3.2, sharey=True)
    coloured = colours(bench)
    end_ms = 1.05 * max((latest(near) for close in bench.near.values() for near in close.values()), default=1.0)
    for axes, (arrivals, close) in zip(panels, bench.near.items(), strict=True):
        axes.set_title(arrivals, loc="left", fontweight="bold", fontsize=10.5)
        for name in sorted(close, key=lambda name: name in coloured):
            times = close[name].latency_ms
            x = [0.0, *times, end_ms]
            y = [100 * step / STEPS for step in (0, *range(1, len(times) + 1), len(times))]
            axes.plot(x, y, color=coloured.get(name, OTHERS), **stroke(bench, name))
        axes.set_xlim(0, end_ms)
        axes.set_ylim(0, 100)
        axes.set_xlabel("ms")
    panels[0].set_ylabel("% of offered")
    legend(figure, bench, coloured)
    return figure


def latest(near: Drilldown) -> float:
    """Returns the latency in ms at which a curve ends, 300.0 at most, as queues that keep growing never end theirs."""
    return min(near.latency_ms[-1] if near.latency_ms else 1.0, 300.0)


def batches(bench: ComparisonData, width_in: float) -> Any:
    """Draws batch sizes at the focus load: one strip per system, darker where more of its requests were in such
    batches.
    """
    most = max(len(close) for close in bench.near.values())
    figure, panels = paned(len(bench.near), width_in, 0.7 + 0.24 * most)
    for axes, arrivals in zip(panels, bench.near, strict=True):
        rows = [row for row in bench.at(arrivals, bench.focus()) if row.system in bench.near[arrivals]][::-1]
        axes.set_title(arrivals, loc="left", fontweight="bold", fontsize=10.5)
        for y, row in enumerate(rows):
            for x, share in enumerate(shares_of(bench.near[arrivals][row.system].batches)):
                axes.barh(y, 0.94, left=x - 0.47, height=0.86, color=LIGHT["line"], alpha=share, lw=0)
                if share >= 0.005:
                    ink = LIGHT["paper"] if share > 0.55 else LIGHT["ink"]
                    axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=ink)
        names(axes, rows, bench)
        axes.set_xticks(range(len(SIZES)), [size_name(*size) for size in SIZES])
        axes.set_xlim(-0.55, len(SIZES) - 0.45)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("batch")
    return figure


def shares_of(found: Mapping[int, int]) -> list[float]:
    """Returns the share of requests, 0..1, in each bin of `SIZES`. `found`: works by batch size."""
    total = sum(size * works for size, works in found.items()) or 1
    return [sum(size * works for size, works in found.items() if low <= size <= high) / total for low, high in SIZES]


def size_name(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}+" if high > 1000 else f"{low}–{high}"


def timeline(bench: ComparisonData, width_in: float) -> Any:
    """Draws the busiest second of each shown system, a panel per arrival process; the numbers are batch sizes."""
    chosen = bench.shown()[:TIMELINE_MAX]
    figure, panels = stacked(len(bench.near), width_in, 0.5 + 0.36 * len(chosen))
    coloured = model_colours(bench)
    for axes, (arrivals, close) in zip(panels, bench.near.items(), strict=True):
        axes.set_title(arrivals, loc="left", fontweight="bold", fontsize=10.5)
        there = [name for name in chosen if name in close][::-1]
        for y, name in enumerate(there):
            lanes = sorted({span.lane for span in close[name].spans})
            for span in close[name].spans:
                height = HEIGHT / len(lanes)
                top = y + HEIGHT / 2 - height * (lanes.index(span.lane) + 0.5)
                bar(axes, top, height, span, coloured.get(span.model, LIGHT["second"]))
        axes.set_yticks(range(len(there)), there, fontsize=9)
        axes.set_ylim(-0.6, len(there) - 0.4)
        axes.set_xlim(0, 1000)
        axes.grid(visible=False, axis="y")
    panels[-1].set_xlabel("ms")
    keyed(figure, {model: coloured[model] for model in sorted(ran(bench, chosen))}, "s")
    return figure


def bar(axes: Any, y: float, height: float, span: Span, colour: str) -> None:
    """Draws one work, hatched where it helped no request in time, with its batch size where there is room."""
    begin, end = max(span.begin_ms, 0.0), min(span.end_ms, 1000.0)
    late = span.on_time == 0
    axes.barh(
        y, end - begin, left=begin, height=height, color=colour, edgecolor=LIGHT["paper"], lw=0.7,
        hatch="/////" if late else None, alpha=0.55 if late else 1.0,
    )  # fmt: skip
    if (end - begin) * axes.figure.get_figwidth() > 140 and height > HEIGHT / 3:
        axes.text((begin + end) / 2, y, str(span.batch), ha="center", va="center", fontsize=7, color=LIGHT["paper"])


def ran(bench: ComparisonData, chosen: Sequence[str]) -> set[str]:
    known = set(bench.models())
    spans = (span for close in bench.near.values() for name in chosen if name in close for span in close[name].spans)
    return {span.model for span in spans} & known


# ---- canvas ----------------------------------------------------------------------------------------------------------


def paned(count: int, width_in: float, height_in: float, **share: Any) -> tuple[Any, list[Any]]:
    """Returns a figure with panels side by side, or below each other where there is no room for that."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    across = width_in > NARROW_IN
    rows, columns = (1, max(1, count)) if across else (max(1, count), 1)
    engine = ConstrainedLayoutEngine(wspace=0.06)
    figure = Figure(figsize=(width_in, height_in * rows + 0.5), layout=engine)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **share).flat)


def stacked(count: int, width_in: float, height_in: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in * max(1, count) + 0.6), layout="constrained")
    return figure, list(figure.subplots(max(1, count), 1, squeeze=False, sharex=True)[:, 0])


PICTURES: dict[str, Callable[[ComparisonData, float], Any]] = {
    "goodput": goodput,
    "worst": worst,
    "models": models,
    "latency": latency,
    "batches": batches,
    "timeline": timeline,
}
