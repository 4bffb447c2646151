"""Chooses sample frames for the report and draws the models' answers over them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cli.run_report.headline import hit
from cli.run_report.recording.folder import Message, RunFolder, time_of
from cli.run_report.recording.matching import Pair, box_of, classifiers, key_of, objects_of, pair_up
from cli.run_report.recording.phases import PHASES
from cli.run_report.summary import Json, model_spans

EACH = 3  # pictures per phase
FONT = 10


@dataclass(frozen=True, slots=True)
class FrameSample:
    """Holds one frame of a phase with its matched objects."""

    phase: str
    camera: str
    seq: int
    at_s: float
    condition: str
    jpeg: bytes
    width: int
    height: int
    pairs: tuple[Pair, ...]


def samples(run: RunFolder, report: Json) -> list[FrameSample]:
    """Returns up to `EACH` frames of each phase of the model that lost most: those with most
    objects first, cameras in turn.
    """
    model = hit(report) or next(iter(report["models"]), "")
    parts = model_spans(run, model)
    truths = {key_of(message): message for message in run.truth}
    results = {key_of(message): message for message in run.results}
    kept = sorted(key for key in results.keys() & truths.keys() if run.frame(*key).is_file())
    found: list[FrameSample] = []
    for phase in PHASES:
        span = getattr(parts, phase)
        if span is not None:
            inside = [key for key in kept if span[0] <= (time_of(truths[key]) or 0.0) - run.start < span[1]]
            chosen = choose(inside, _worth(inside, truths, run.start + sum(span) / 2))
            found += [s for key in chosen if (s := _sample(run, phase, results[key], truths[key])) is not None]
    return found


def _worth(
    keys: Sequence[tuple[str, int]], truths: Mapping[tuple[str, int], Message], middle: float
) -> dict[tuple[str, int], tuple[float, float]]:
    """Returns the sort key of each frame: most objects first, then closest to the middle of the phase."""
    return {key: (len(objects_of(truths[key])), -abs((time_of(truths[key]) or 0.0) - middle)) for key in keys}


def choose(
    keys: Sequence[tuple[str, int]], worth: Mapping[tuple[str, int], tuple[float, float]]
) -> list[tuple[str, int]]:
    """Returns the best frame of each camera, then the next best of each, until there are enough."""
    by_camera: dict[str, list[tuple[str, int]]] = {}
    for key in sorted(keys, key=lambda key: (-worth[key][0], -worth[key][1], key)):
        by_camera.setdefault(key[0], []).append(key)
    ranks = sorted((rank, key) for mine in by_camera.values() for rank, key in enumerate(mine[:EACH]))
    return sorted(key for _, key in ranks[:EACH])


def _sample(run: RunFolder, phase: str, result: Message, truth: Message) -> FrameSample | None:
    camera, seq = key_of(result)
    jpeg = run.frame(camera, seq).read_bytes()
    size = jpeg_size(jpeg)
    if size is None:
        return None
    pairs = tuple(pair_up(objects_of(result), objects_of(truth)))
    at_s = (time_of(truth) or run.start) - run.start
    return FrameSample(phase, camera, seq, at_s, str(truth.get("condition") or ""), jpeg, *size, pairs)


def jpeg_size(jpeg: bytes) -> tuple[int, int] | None:
    """Returns width and height from the frame header; None for anything but a whole JPEG."""
    at = 2
    while jpeg[:2] == b"\xff\xd8" and at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        if 0xC0 <= jpeg[at + 1] <= 0xCF and jpeg[at + 1] not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return None


def drawn(sample: FrameSample, settings: Message) -> str:
    """Returns one frame as an SVG figure: right, wrong, missed and false boxes differ in colour and in stroke."""
    labelled = set(classifiers(settings))
    data = base64.b64encode(sample.jpeg).decode()
    boxes = "".join(_box(pair, labelled, sample) for pair in sample.pairs)
    words = "; ".join(_words(pair) for pair in sample.pairs if _place(pair) is None)
    caption = f"{sample.camera} · {sample.at_s:.1f} s · {sample.condition}".rstrip(" ·")
    return (
        f'<figure><svg viewBox="0 0 {sample.width} {sample.height}" role="img" aria-label="{escape(caption)}">'
        f'<image href="data:image/jpeg;base64,{data}" width="{sample.width}" height="{sample.height}"/>{boxes}</svg>'
        f"<figcaption>{escape(caption)}{'<br>' + words if words else ''}</figcaption></figure>"
    )


def _place(pair: Pair) -> Sequence[float] | None:
    return box_of(pair.said or pair.true or {})


def verdict(pair: Pair, labelled: set[str]) -> str:
    """Returns "right", "wrong" (label), "missed" (no answer) or "false" (no object)."""
    if pair.said is None:
        return "missed"
    if pair.true is None:
        return "false"
    return "right" if pair.right or pair.said.get("kind") not in labelled else "wrong"


def _words(pair: Pair) -> str:
    said, true = (escape(str((thing or {}).get("label", "?"))) for thing in (pair.said, pair.true))
    if pair.said is None:
        return f'<span class="missed">missed: {true}</span>'
    return f'<span class="right">{said} ✓</span>' if pair.right else f'<span class="wrong">{said}, is {true}</span>'


def _box(pair: Pair, labelled: set[str], sample: FrameSample) -> str:
    place = _place(pair)
    if place is None:
        return ""
    x1, y1, x2, y2 = place
    what = verdict(pair, labelled)
    said, true = (str((thing or {}).get("label", "")) for thing in (pair.said, pair.true))
    text = {"right": said, "wrong": f"{said} ≠ {true}", "missed": "missed", "false": f"{said}?"}[what]
    width = 0.66 * FONT * len(text) + 4
    x = min(max(0.0, x1), max(0.0, sample.width - width))
    y = y1 - FONT - 3 if y1 > FONT + 3 else min(y2, sample.height - FONT - 3)
    return (
        f'<g class="{what}"><rect class="box" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"/>'
        f'<rect class="tag" x="{x:.1f}" y="{y:.1f}" width="{width:.0f}" height="{FONT + 3}"/>'
        f'<text x="{x + 2:.1f}" y="{y + FONT:.1f}" font-size="{FONT}">{escape(text)}</text></g>'
    )
