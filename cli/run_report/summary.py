"""Builds report.json: a run folder in numbers, each with what it was counted from. Pure; the
definitions are in `phases`.
"""

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from cli.run_report.headline import headline
from cli.run_report.recording import series
from cli.run_report.recording.folder import Message, RunFolder, number, time_of
from cli.run_report.recording.intervals import AccuracyEstimate
from cli.run_report.recording.matching import Score, classifiers, models
from cli.run_report.recording.phases import (
    DEFINITIONS,
    PHASES,
    Spans,
    kind_of,
    measure,
    phase_tallies,
    regained,
    spans,
    times_of,
)

COUNTED = {"alarms": "alarm", "audits": "audit", "promotions": "promotion", "rollbacks": "rollback"}
Json = dict[str, Any]


def summarize(run: RunFolder, score: Score) -> Json:
    """Returns the whole of report.json. What a run does not tell is null, never a guess."""
    found = series.answers(run)
    names = list(dict.fromkeys([*models(run.settings), *_models_of_stats(run)]))
    report: Json = {
        "headline": "",
        "frames": _frames(run, score, found),
        "slo": {},
        "latency_ms": _latency([a.total_ms for a in found]),
        "models": {name: model_summary(run, score, name) for name in names},
        "time_share": _time_share(run),
        "drift": {"kind": run.settings.get("drift"), "at_s": _round(run.drift_s), "conditions": conditions(run)},
        "duration_s": _round(run.duration_s),
        "frozen": run.frozen,
        "seed": run.settings.get("seed"),
        "settings": dict(run.settings),
        "versions": _versions(run),
        "definitions": [*DEFINITIONS, *_who_labelled(run)],
        "notes": list(run.notes),
    }
    report["slo"] = _slo(run, found, report["frames"])
    report["headline"] = headline(report)
    return report


def _who_labelled(run: RunFolder) -> list[str]:
    who = run.settings.get("labels")
    return (
        [f"Labels for audits, training and judging came from {who}; the truth went to this report alone."]
        if who
        else []
    )


def conditions(run: RunFolder) -> list[str]:
    """Returns what the truth calls the scene after the drift, in order of appearance."""
    if run.drift_s is None:
        return []
    after = run.start + run.drift_s
    named = (t.get("condition") for t in run.truth if (time_of(t) or 0.0) >= after)
    return list(dict.fromkeys(str(name) for name in named if name))


def model_spans(run: RunFolder, model: str) -> Spans:
    return spans(run.duration_s, run.drift_s, times_of(run, model, "promotion"))


def model_summary(run: RunFolder, score: Score, model: str) -> Json:
    """Returns the accuracies, events and delays of one model."""
    tallies = [tally for tally in score.tallies if tally.model == model]
    parts = model_spans(run, model)
    phases = measure(tallies, parts)
    back = regained(phases)
    summary: Json = {
        "role": "detector" if model == run.settings.get("detector") else "classifier",
        "accuracy": {name: _round(phases[name].value) for name in PHASES},
        "interval": {name: _pair(phases[name].low, phases[name].high) for name in PHASES},
        "counts": {name: _counts(phases[name]) for name in PHASES},
        "phases_s": {name: _pair(*(getattr(parts, name) or (None, None))) for name in PHASES},
        "lost": _round(back.lost),
        "regained": _round(back.points),
        "regained_share": _round(back.share),
        "regained_share_interval": _pair(back.low, back.high),
        **{plural: _count(run, model, plural, kind) for plural, kind in COUNTED.items()},
        **_delays(run, model),
    }
    if summary["role"] == "detector":
        summary["recall"], summary["precision"] = _recall_precision(phase_tallies(tallies, parts))
    return summary


def _recall_precision(phases: Mapping[str, Sequence[Any]]) -> tuple[Json, Json]:
    recall, precision = {}, {}
    for name, tallies in phases.items():
        found, false, missed = (sum(getattr(t, what) for t in tallies) for what in ("found", "false", "missed"))
        recall[name] = _round(found / (found + missed)) if found + missed else None
        precision[name] = _round(found / (found + false)) if found + false else None
    return recall, precision


def _delays(run: RunFolder, model: str) -> Json:
    """Returns the seconds from the drift to the first alarm and to the first promotion; alarms
    before the drift were false.
    """
    drift = run.drift_s
    alarms, promotions = times_of(run, model, "alarm"), times_of(run, model, "promotion")
    if drift is None:
        return {"detection_delay_s": None, "repair_delay_s": None, "false_alarms": len(alarms)}
    return {
        "detection_delay_s": _round(next((at - drift for at in alarms if at >= drift), None)),
        "repair_delay_s": _round(next((at - drift for at in promotions if at >= drift), None)),
        "false_alarms": sum(at < drift for at in alarms),
    }


def _count(run: RunFolder, model: str, plural: str, kind: str) -> int:
    """Counts events of a model. The journal and the daemon's counters should agree; where a
    message was lost the larger one is right.
    """
    told: int = sum(e.get("model") == model and kind_of(e) == kind for e in run.events)
    state = _last(run).get("models")
    said = state.get(model, {}).get(plural) if isinstance(state, Mapping) else None
    return max(told, int(number(said) or 0))


def _counts(phase: AccuracyEstimate) -> Json:
    return {"right": phase.right, "of": phase.of, "frames": phase.frames, "blocks": phase.blocks}


# ---- frames, SLO, time ---------------------------------------------------------------------------------------------


def _frames(run: RunFolder, score: Score, found: Sequence[series.AnswerPoint]) -> Json:
    """Returns the counts of frames: `in` = `answered` + `dropped_total`, and `dropped` adds up to `dropped_total`."""
    received = score.frames + score.without_truth
    said = _last(run).get("frames")
    said = said if isinstance(said, Mapping) else {}
    answered = max(received, int(number(said.get("answered")) or 0))
    published = len({(t.get("camera"), t.get("seq")) for t in run.truth})
    dropped = series.reasons(said.get("dropped"))
    if not said:
        dropped = {"unseen": published - answered} if published > answered else {}
    total = sum(dropped.values())
    return {
        "in": answered + total,
        "answered": answered,
        "dropped": dropped,
        "dropped_total": total,
        "waiting_at_end": int(number(said.get("waiting")) or 0),
        "published": published,
        "results_received": received,
        "scored": score.frames,
        "without_truth": score.without_truth,
        "repeated": score.repeated,
        "streams": _streams(run, found),
    }


def _streams(run: RunFolder, found: Sequence[series.AnswerPoint]) -> Json:
    told = _last(run).get("streams")
    told = told if isinstance(told, Mapping) else {}
    names = sorted({*map(str, told), *(a.camera for a in found)})
    table: Json = {}
    for name in names:
        mine = [a for a in found if a.camera == name]
        said = told.get(name)
        said = said if isinstance(said, Mapping) else {}
        dropped = series.reasons(said.get("dropped"))
        answered = max(len(mine), int(number(said.get("answered")) or 0))
        table[name] = {
            "in": answered + sum(dropped.values()),
            "answered": answered,
            "dropped": dropped,
            "late": sum(not a.met for a in mine),
            **_latency([a.total_ms for a in mine]),
        }
    return table


def _slo(run: RunFolder, found: Sequence[series.AnswerPoint], frames: Json) -> Json:
    met = sum(a.met for a in found)
    said = _last(run).get("slo")
    return {
        "ms": run.slo_ms,
        "met": met,
        "attainment": _round(met / (len(found) + frames["dropped_total"]))
        if found or frames["dropped_total"]
        else None,
        "attainment_of_answered": _round(met / len(found)) if found else None,
        "attainment_by_daemon": _round(number(said.get("attainment"))) if isinstance(said, Mapping) else None,
    }


def _latency(values: Sequence[float]) -> Json:
    return {
        "p50": _round(series.quantile(values, 0.5), 2),
        "p99": _round(series.quantile(values, 0.99), 2),
        "max": _round(max(values, default=None), 2),
    }


def _time_share(run: RunFolder) -> Json:
    shares = series.shares_of(_last(run))
    return {name: _round(shares.get(name, 0.0) if shares else None) for name in series.ACTIVITIES}


def _last(run: RunFolder) -> Message:
    return run.stats[-1] if run.stats else {}


def _models_of_stats(run: RunFolder) -> list[str]:
    """Models that the truth cannot judge (a teacher) still have counters, if they moved."""
    told = _last(run).get("models")
    if not isinstance(told, Mapping):
        return []
    judged = set(classifiers(run.settings).values()) | {run.settings.get("detector")}
    return [str(m) for m, s in told.items() if m not in judged and isinstance(s, Mapping) and any(map(s.get, COUNTED))]


def _versions(run: RunFolder) -> Json:
    said = run.settings.get("versions")
    versions: Json = dict(said) if isinstance(said, Mapping) else {}
    versions.setdefault("python", platform.python_version())
    for name in ("leeway", "onnxruntime", "onnxruntime-gpu", "numpy", "paho-mqtt", "opencv-python-headless"):
        try:
            versions.setdefault(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    return versions


def journal(run: RunFolder) -> list[tuple[float, str, str, Json]]:
    """Returns seconds from the start, kind, model and evidence of each event, in order of time."""
    known = {"kind", "event", "type", "model", "time", "at", "topic", "node"}
    lines = []
    for event in run.events:
        at = time_of(event)
        evidence = {str(key): value for key, value in event.items() if key not in known}
        lines.append((0.0 if at is None else at - run.start, kind_of(event), str(event.get("model") or ""), evidence))
    return sorted(lines, key=lambda line: line[:3])


def _round(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def _pair(low: float | None, high: float | None) -> list[float | None] | None:
    return None if low is None or high is None else [_round(low), _round(high)]
