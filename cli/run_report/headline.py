"""Sums the report up in one sentence and a few tiles: what was lost, what was regained, and whether SLOs held."""

from collections.abc import Mapping
from typing import Any

from cli.drawing.tile import Tile, Tone, millis, percent
from cli.run_report.recording.phases import LOSS_MIN

ATTAINMENT_GOAL = 0.98
REGAINED_GOAL = 0.6
Report = Mapping[str, Any]


def hit(report: Report) -> str | None:
    """Returns the model that lost most by the drift; None where none lost at least `LOSS_MIN`."""
    lost = {name: m["lost"] for name, m in report["models"].items() if (m["lost"] or 0) >= LOSS_MIN}
    return max(lost, key=lambda name: (lost[name], name)) if lost else None


def headline(report: Report) -> str:
    """Returns the sentence. It states only what the numbers show; a run without frames says that."""
    frames, slo = report["frames"], report["slo"]
    if not frames["answered"]:
        return "No frame was answered: there is nothing to judge."
    kept = f"{percent(slo['attainment'], 1)} of the {frames['in']:,} frames were answered in time"
    kept += f" ({slo['ms']:g} ms)." if slo["ms"] else "."
    model = hit(report)
    if model is None:
        return f"No model lost accuracy worth the name; {kept}"
    facts = report["models"][model]
    accuracy = facts["accuracy"]
    unit = " F1" if facts["role"] == "detector" else " right"
    way = f"from {percent(accuracy['before'])} to {percent(accuracy['drifted'])}{unit}"
    fell = f"Under {_cause(report)}, {model} fell {way}"
    if report["frozen"]:
        return f"Frozen: {fell[0].lower()}{fell[1:]} and ended at {percent(accuracy['after'])}; {kept}"
    if not facts["promotions"]:
        return f"{fell}, and no repair was promoted; {kept}"
    share = facts["regained_share"]
    back = f"came back to {percent(accuracy['after'])}" if share is None or share > 0 else "did not come back"
    worth = f" ({percent(share)} of the loss)" if share is not None and share > 0 else ""
    return f"{fell}; repaired on the device, it {back}{worth}, while {kept}"


def _cause(report: Report) -> str:
    """Returns what the scene turned into, as the truth names it."""
    conditions = report["drift"]["conditions"]
    return " and ".join(conditions) if 0 < len(conditions) <= 2 else "the drift"


def tiles(report: Report) -> list[Tile]:
    """Returns the tiles: SLO first, then each model that can be judged, then the frames and the time."""
    return [*_promises(report), *(_model(name, report) for name in _judged(report)), *_counts(report)]


def _promises(report: Report) -> list[Tile]:
    slo, latency = report["slo"], report["latency_ms"]
    attainment, limit, p99 = slo["attainment"], slo["ms"], latency["p99"]
    on_time: Tone = "plain" if p99 is None or limit is None else "good" if p99 <= limit else "bad"
    goal: Tone = "plain" if attainment is None else "good" if attainment >= ATTAINMENT_GOAL else "bad"
    return [
        Tile(
            "answered in time", percent(attainment, 2), f"goal {percent(ATTAINMENT_GOAL)}; drops count as misses", goal
        ),
        Tile("latency p99", millis(p99), f"p50 {millis(latency['p50'])}, SLO {millis(limit)}", on_time),
    ]


def _judged(report: Report) -> list[str]:
    return [name for name, m in report["models"].items() if m["accuracy"]["before"] is not None]


def _model(name: str, report: Report) -> Tile:
    facts = report["models"][name]
    accuracy, share = facts["accuracy"], facts["regained_share"]
    way = " → ".join(
        percent(accuracy[phase]) for phase in ("before", "drifted", "after") if accuracy[phase] is not None
    )
    if share is None or not facts["promotions"]:
        return Tile(name, percent(accuracy["after"] if accuracy["after"] is not None else accuracy["before"]), way)
    verdict: Tone = "plain"
    if name == hit(report) and not report["frozen"]:
        verdict = "good" if share >= REGAINED_GOAL else "bad"
    return Tile(f"{name}: regained", percent(share), way, verdict)


def _counts(report: Report) -> list[Tile]:
    frames, share = report["frames"], report["time_share"]
    spent = None if share["training"] is None else share["training"] + share["labelling"]
    return [
        Tile("frames", f"{frames['in']:,}", f"{frames['answered']:,} answered + {frames['dropped_total']:,} dropped"),
        Tile("time for adapting", percent(spent, 1), f"inference {percent(share['inference'], 1)} of the device"),
    ]
