"""Builds report.html: one self-contained file, light or dark, for laptops and phones."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cli.drawing.canvas import NARROW_IN, WIDE_IN
from cli.drawing.html_document import document, illustrated, notes, table, tiled
from cli.drawing.tile import millis, percent
from cli.run_report import pictures
from cli.run_report.headline import tiles
from cli.run_report.pictures import PictureData
from cli.run_report.recording.phases import PHASES
from cli.run_report.recording.series import WINDOW_S
from cli.run_report.samples import FrameSample, drawn, samples
from cli.run_report.summary import Json, journal

CAPTIONS = {
    "accuracy": (
        "Accuracy over time",
        f"Against the ground truth, in a sliding window of {WINDOW_S:g} s (cut at the drift and at promotions), "
        "with its 95 % band. "
        "Dotted: the mean of each phase that the table below counts.",
    ),
    "latency": (
        "Latency against the SLO",
        "From the frame's arrival at the daemon to its answer; half of the frames "
        "lie under p50, 99 of 100 under p99, in bins of 2 s.",
    ),
    "device-time": ("Where the device's time went", "Adapting takes what inference leaves over."),
}
GENERATOR_NOTE = "Made by <code>leeway demo</code> from this run's own messages; figures also in report.json."


def page(scene: PictureData, report: Json) -> str:
    """Returns the whole document. Raises `UserError` where matplotlib is missing."""
    parts = [
        f"<h1>Leeway · {'frozen run' if report['frozen'] else 'adapting run'} · {report['duration_s'] or 0:g} s"
        f" · seed {escape(str(report['seed']))}</h1>",
        f'<p class="headline">{escape(report["headline"])}</p>',
        tiled(tiles(report)),
        notes(report["notes"]),
        _picture("accuracy", scene),
        _models(report["models"]),
        _picture("latency", scene),
        _streams(report["frames"]),
        _picture("device-time", scene),
        _journal(scene, report),
        _frames(samples(scene.run, report), report),
        _about(report),
    ]
    return document("Leeway report", "\n".join(part for part in parts if part))


def _picture(name: str, scene: PictureData) -> str:
    title, hint = CAPTIONS[name]
    wide, narrow = (pictures.svg(name, scene, width) for width in (WIDE_IN, NARROW_IN))
    return illustrated(title, hint, wide, narrow)


def _models(models: Mapping[str, Json]) -> str:
    head = (
        "model",
        *PHASES,
        "regained",
        "noticed after",
        "repaired after",
        "alarms",
        "audits",
        "promotions",
        "rollbacks",
    )
    rows = [
        (
            escape(name),
            *(_share(m["accuracy"][phase], m["interval"][phase]) for phase in PHASES),
            _share(m["regained_share"], m["regained_share_interval"]),
            _seconds(m["detection_delay_s"]),
            _seconds(m["repair_delay_s"]),
            *(str(m[what]) for what in ("alarms", "audits", "promotions", "rollbacks")),
        )
        for name, m in models.items()
    ]
    return table(head, rows, ["name", *["n"] * 10]) if rows else ""


def _share(value: float | None, interval: Sequence[float | None] | None) -> str:
    if value is None or interval is None or None in interval:
        return percent(value, 1)
    low, high = (f"{100 * (edge or 0.0):.0f}" for edge in interval)
    return f'{percent(value, 1)}<br><span class="range">{low} … {high}</span>'


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _streams(frames: Json) -> str:
    reasons = sorted({reason for s in frames["streams"].values() for reason in s["dropped"]} | set(frames["dropped"]))
    head = ("stream", "in", "answered", "of these late", *(f"dropped: {escape(r)}" for r in reasons), "p50", "p99", "")
    rows = [
        (
            escape(name),
            f"{s['in']:,}",
            f"{s['answered']:,}",
            f"{s['late']:,}",
            *(f"{s['dropped'].get(reason, 0):,}" for reason in reasons),
            millis(s["p50"]),
            millis(s["p99"]),
            _bar(s),
        )
        for name, s in frames["streams"].items()
    ]
    sums = f"{frames['in']:,} in = {frames['answered']:,} answered + {frames['dropped_total']:,} dropped"
    hint = f"{sums}; {frames['published']:,} published by the cameras, {frames['scored']:,} scored against the truth."
    return f'<h2>Frames</h2><p class="hint">{hint}</p>' + table(head, rows, ["name", *["n"] * (len(head) - 2), "name"])


def _bar(stream: Json) -> str:
    whole = max(1, stream["in"])
    dropped = sum(stream["dropped"].values())
    parts = (("promotion", stream["answered"] - stream["late"]), ("rollback", stream["late"]), ("alarm", dropped))
    cells = "".join(f'<i style="width:{100 * n / whole:.2f}%;background:var(--{colour})"></i>' for colour, n in parts)
    return f'<div class="bar" title="in time, late, dropped">{cells}</div>'


def _journal(scene: PictureData, report: Json) -> str:
    lines = journal(scene.run)
    if scene.run.drift_s is not None:
        what = {"condition": report["drift"]["kind"]} if report["drift"]["kind"] else {}
        lines = sorted([*lines, (scene.run.drift_s, "drift", "", what)], key=lambda line: line[:3])
    rows = [
        (f"{at:.1f} s", f'<span class="kind {escape(kind)}">{escape(kind)}</span>', escape(model), _evidence(what))
        for at, kind, model, what in lines
    ]
    told = table(("at", "what", "model", "evidence"), rows, ["n", "name", "name", "words"])
    return "<h2>Journal</h2>" + (told if rows else '<p class="hint">Nothing happened.</p>')


def _evidence(what: Json) -> str:
    shown = " · ".join(f"{escape(str(k))} <b>{escape(_plain(v))}</b>" for k, v in what.items() if v is not None)
    return f'<span class="evidence">{shown}</span>'


def _plain(value: Any, most: int = 160) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= most else text[:most] + " …"


def _frames(shown: Sequence[FrameSample], report: Json) -> str:
    if not shown:
        return ""
    legend = "".join(
        f'<b class="{what}">{words}</b>'
        for what, words in (
            ("right", "right"),
            ("wrong", ", wrong (said ≠ is)"),
            ("missed", ", missed"),
            ("false", ", false?"),
        )
    )
    blocks = []
    for phase in PHASES:
        mine = [drawn(sample, report["settings"]) for sample in shown if sample.phase == phase]
        if mine:
            blocks.append(f'<h3>{phase}</h3><div class="frames">{"".join(mine)}</div>')
    return f'<h2>Sample frames</h2><p class="hint">Boxes as answered: {legend}.</p>' + "".join(blocks)


def _about(report: Json) -> str:
    definitions = "".join(f"<li>{escape(line)}</li>" for line in report["definitions"])
    settings = escape(json.dumps(report["settings"], indent=2))
    versions = " · ".join(f"{escape(k)} {escape(str(v))}" for k, v in report["versions"].items())
    return (
        f"<h2>Definitions</h2><ul>{definitions}</ul><details><summary>Settings</summary><pre>{settings}</pre></details>"
        f'<p class="note">{versions}<br>{GENERATOR_NOTE}</p>'
    )
