"""Writes the report of `leeway bench schedulers`: how much of what was possible each system kept, at which load."""

from collections.abc import Sequence
from html import escape

from cli.comparison_report import pictures
from cli.comparison_report.comparison_data import ComparisonData, Json
from cli.drawing import canvas
from cli.drawing.canvas import NARROW_IN, WIDE_IN
from cli.drawing.html_document import document, illustrated, notes, table, tiled
from cli.drawing.tile import Tile, percent
from evaluation.metrics.summary import SummaryRow

CAPTIONS = {
    "goodput": (
        "Answers in time",
        "Good requests a second. Dashed: what no scheduler can exceed. Bands: 95 % over seeds. Grey: the systems that"
        " are only in the tables below.",
    ),
    "worst": (
        "The worst-off model",
        "Share of its requests answered in time: a scheduler can win by starving another model. Dashed, with --bound"
        " close: what no scheduler can exceed.",
    ),
    "models": ("Who is served", "Share answered in time of each model, at {focus}."),
    "latency": (
        "Latency",
        "Share of all offered requests answered within that time, at {focus}; what is dropped never comes.",
    ),
    "batches": ("Batch sizes", "Share of the requests run in batches of that size, at {focus}."),
    "timeline": (
        "One second",
        "The busiest second at {focus}: who has the lane, in batches of how many. Striped: too late, or stopped.",
    ),
}


def page(bench: ComparisonData) -> str:
    """Returns the whole document. Raises `UserError` where Matplotlib is missing."""
    said = bench.document
    loads = bench.loads()
    names = ["goodput", "worst"] if len(loads) > 1 else []
    names += ["models"]
    names += ["latency", "batches", "timeline"] if any(bench.near.values()) else []
    parts = [
        f"<h1>Leeway · schedulers on {escape(said['scenarios'][0]['name'])}</h1>",
        f'<p class="headline">{escape(headline(bench))}</p>',
        tiled(tiles(bench)),
        *(picture(name, bench) for name in names),
        tables(bench),
        left_out(said["notes"]),
        cards(said["systems"]),
        about(bench),
    ]
    return document("Leeway: schedulers", "\n".join(part for part in parts if part))


def headline(bench: ComparisonData) -> str:
    """Returns how the baseline did at the focus load, in one sentence."""
    load = bench.focus()
    mine = [(row, arrivals) for arrivals in bench.arrivals() if (row := bench.own(arrivals, load))]
    told = " and ".join(f"{percent(row['attainment'], 1)} ({arrivals})" for row, arrivals in mine)
    return f"At load {load:g}, {bench.baseline} answered {told} of all requests in time."


def tiles(bench: ComparisonData) -> list[Tile]:
    """Returns one tile for each arrival process: the baseline, the best of the others, and the bound."""
    return [tile(bench, arrivals) for arrivals in bench.arrivals() if bench.own(arrivals, bench.focus())]


def tile(bench: ComparisonData, arrivals: str) -> Tile:
    """Returns the tile of one arrival process at the focus load, where the baseline must have a row."""
    mine, rows = bench.own(arrivals, bench.focus()), bench.at(arrivals, bench.focus())
    assert mine is not None
    said = [f"worst model {percent(mine['attainment_min'], 1)}"]
    if other := next((row for row in rows if row.system != bench.baseline), None):
        said.append(f"best other {percent(other['attainment'], 1)}, {other.system}")
    if (bound := mine["bound"]) is not None and (asked := mine["offered_rps"]):
        said.append(f"possible at most {percent(bound / asked, 1)}")
    return Tile(f"{bench.baseline}, {arrivals}", percent(mine["attainment"], 1), " · ".join(said))


def picture(name: str, bench: ComparisonData) -> str:
    title, hint = CAPTIONS[name]
    wide, narrow = (drawn(name, bench, width) for width in (WIDE_IN, NARROW_IN))
    return illustrated(title, hint.format(focus=f"load {bench.focus():g}"), wide, narrow)


def drawn(name: str, bench: ComparisonData, width_in: float) -> str:
    return canvas.svg(lambda: pictures.PICTURES[name](bench, width_in), f"{name}-{width_in}")


# ---- words -----------------------------------------------------------------------------------------------------------

COLUMNS = (  # head, metric, factor, digits
    ("goodput", "goodput", 1, 1),
    ("attained", "attainment", 100, 1),
    ("right", "right", 100, 1),
    ("worst", "attainment_min", 100, 1),
    ("worst bound", "attainment_min_bound", 100, 1),
    ("jain", "jain", 1, 3),
    ("p99 ms", "p99_ms", 1, 1),
    ("wasted", "wasted", 100, 1),
    ("batch", "batch_mean", 1, 1),
    ("decision p99 µs", "decision_us_p99", 1, 0),
    ("headroom", "headroom", 100, 1),
)
IN_PERCENT = 100


def tables(bench: ComparisonData) -> str:
    parts = ["<h2>All numbers</h2>", '<p class="hint">Means over seeds; small: 95 % interval.</p>']
    for arrivals in bench.arrivals():
        for load in bench.loads():
            if rows := bench.at(arrivals, load):
                parts.append(folded(rows, load, arrivals, bench))
    return "".join(parts)


def folded(rows: Sequence[SummaryRow], load: float, arrivals: str, bench: ComparisonData) -> str:
    bound = rows[0]["bound"]
    most = f" · at most {bound:.1f} good requests/s ({rows[0].bound_method})" if bound is not None else ""
    shown = " open" if load == bench.focus() else ""
    head = f"<summary>load {load:g} · {escape(arrivals)}{most}</summary>"
    return f"<details{shown}>{head}{numbers(rows, bench.baseline)}</details>"


def numbers(rows: Sequence[SummaryRow], baseline: str) -> str:
    columns = [column for column in COLUMNS if any(row[column[1]] is not None for row in rows)]
    head = ("system", *(name for name, *_ in columns), f"± {escape(baseline)}")
    body = [(named(row, baseline), *(cell(row, *column[1:]) for column in columns), against(row)) for row in rows]
    return table(head, body, ["name", *["n"] * (len(head) - 1)])


def named(row: SummaryRow, baseline: str) -> str:
    return f"<b>{escape(row.system)}</b>" if row.system == baseline else escape(row.system)


def cell(row: SummaryRow, metric: str, factor: float, digits: int) -> str:
    """Returns a mean with its unit, and its 95 % interval for the main metrics; a dash where there is no number."""
    found = row.numbers[metric]
    if found is None:
        return "–"
    unit = " %" if factor == IN_PERCENT else ""
    low, high = (f"{factor * edge:.{digits}f}" for edge in (found.low, found.high))
    interval = f'<br><span class="range">{low} … {high}</span>' if metric in ("goodput", "attainment") else ""
    return f"{factor * found.mean:.{digits}f}{unit}{interval}"


def against(row: SummaryRow) -> str:
    """Returns points of attainment relative to the baseline on the same requests; empty for the baseline itself."""
    found = row.versus.get("attainment")
    if found is None:
        return ""
    if found.low == found.high:
        return f"{100 * found.mean:+.1f}"
    low, high = (f"{100 * edge:+.1f}" for edge in (found.low, found.high))
    return f'{100 * found.mean:+.1f}<br><span class="range">{low} … {high}</span>'


def left_out(said: Sequence[str]) -> str:
    return f"<h2>Notes</h2>{notes(said)}" if said else ""


def cards(systems: Sequence[Json]) -> str:
    parts = [
        "<h2>The systems</h2>",
        '<p class="hint">Whose idea, with which options, and what differs from the paper.</p>',
    ]
    return "".join([*parts, *map(card, systems)])


def card(system: Json) -> str:
    """Returns the folded description of a system: its parts, their options and sources, and deviations."""
    needs = f" · needs {escape(', '.join(system['needs']))}" if system["needs"] else ""
    inside = []
    for part in system["parts"]:
        options = "".join(
            f"<li><b>{escape(option['name'])}</b> = {escape(str(option['value']))}"
            f'<span class="range"> {escape(option["source"])}</span></li>'
            for option in part["options"]
        )
        differs = "".join(f"<li>differs: {escape(line)}</li>" for line in part["deviations"])
        inside.append(
            f"<p>{escape(part['place'])}: <code>{escape(part['use'])}</code><br>{escape(part['paper'])}</p>"
            f"<ul>{options}{differs}</ul>"
        )
    return f"<details><summary>{escape(system['system'])}{needs}</summary>{''.join(inside)}</details>"


DEFINITIONS = (
    "good: answered at or before the deadline; dropped and refused requests count as missed",
    "bound: what no scheduler can exceed on these very requests, even one that knows the future",
    "preemptive relaxation: the bound where batches may be interrupted and done in part; Lagrangian: a closer one,"
    " where they are whole and run in one piece",
    "headroom: (bound - goodput) / bound",
    "right: answered in time, and rightly, by the variants' stated accuracies; of all that were offered",
    "worst: the attainment of the model that is served worst; worst bound: what that can be at most, whatever the"
    " others get; jain: 1 where all models are served alike",
    "wasted: share of the busy time that helped no good answer",
    "decision p99: wall time of all decisions at one event, on the machine that ran this",
)


def about(bench: ComparisonData) -> str:
    """Returns the definitions of the metrics, and what the comparison was made with."""
    said = bench.document
    definitions = "".join(f"<li>{escape(line)}</li>" for line in DEFINITIONS)
    versions = " · ".join(f"{escape(key)} {escape(value)}" for key, value in said["versions"].items())
    estimator = escape(str(said["estimator"]))
    return (
        f"<h2>Definitions</h2><ul>{definitions}</ul>"
        f'<p class="note">{len(said["scenarios"])} traces; durations expected by: {estimator}<br>{versions}<br>'
        "Made by <code>leeway bench schedulers</code>; the same numbers, by seed, with <code>--json FILE</code>.</p>"
    )
