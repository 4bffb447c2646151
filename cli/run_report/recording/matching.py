"""Matches results with the truth: frames by camera and number, boxes by overlap. Pure, and linear in the frames."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.run_report.recording.folder import Message, RunFolder, number, time_of

IOU_MIN = 0.5
Box = Sequence[float]


@dataclass(frozen=True, slots=True)
class Tally:
    """Holds what one frame says of one model. Its accuracy over frames is `sum(right) / sum(of)`.

    A classifier: right labels of matched boxes. A detector: 2 found of 2 found + false + missed, which is F1.
    """

    model: str
    camera: str
    at_s: float  # seconds from the start, by the camera's clock
    right: int
    of: int
    found: int = 0
    false: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Holds a result's object and the one of the truth that it is matched with; one of them is
    None where nothing fits.
    """

    said: Message | None
    true: Message | None

    @property
    def right(self) -> bool:
        return self.said is not None and self.true is not None and self.said.get("label") == self.true.get("label")


@dataclass(frozen=True, slots=True)
class Score:
    """Holds the tallies of a run and the counts of frames."""

    tallies: tuple[Tally, ...]
    frames: int  # results that were scored
    without_truth: int
    repeated: int  # results that came twice; the first one counts


def iou(a: Box, b: Box) -> float:
    """Returns the intersection over union of two boxes x1, y1, x2, y2; 0 for empty ones."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def pair_up(said: Sequence[Message], true: Sequence[Message]) -> list[Pair]:
    """Matches objects greedily within a kind: the pair that overlaps most goes first.

    Objects without a box (which describe a whole picture) match in order of mention, whatever either side calls their
    kind.
    """
    options = sorted(
        (-overlap, i, j)
        for i, one in enumerate(said)
        for j, other in enumerate(true)
        if (overlap := _overlap(one, other, i, j)) >= IOU_MIN
    )
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in options:
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    pairs = [Pair(one, true[partner[i]] if i in partner else None) for i, one in enumerate(said)]
    return pairs + [Pair(None, other) for j, other in enumerate(true) if j not in taken]


def _overlap(one: Message, other: Message, i: int, j: int) -> float:
    a, b = box_of(one), box_of(other)
    if a is None or b is None:
        return 1.0 if a is b and i == j else 0.0
    return iou(a, b) if one.get("kind") == other.get("kind") else 0.0


def box_of(thing: Message) -> Box | None:
    box = thing.get("box")
    good = isinstance(box, list | tuple) and len(box) == 4 and all(number(x) is not None for x in box)
    return box if good else None


def key_of(message: Message) -> tuple[str, int]:
    return str(message.get("camera")), int(number(message.get("seq")) or 0)


def objects_of(message: Message) -> list[Message]:
    return [thing for thing in message.get("objects") or () if isinstance(thing, Mapping)]


def score(run: RunFolder) -> Score:
    """Scores every answered frame against its truth. Dropped frames do not count here."""
    truths = {key_of(message): message for message in run.truth}
    tallies: list[Tally] = []
    seen: set[tuple[Any, ...]] = set()
    without = repeated = 0
    for result in run.results:
        key = key_of(result)
        mark = (*key, result.get("app"))
        if mark in seen:
            repeated += 1
            continue
        seen.add(mark)
        if key not in truths:
            without += 1
            continue
        tallies.extend(_judge(run, result, truths[key]))
    return Score(tuple(tallies), len(seen) - without, without, repeated)


def _judge(run: RunFolder, result: Message, truth: Message) -> Iterable[Tally]:
    at = time_of(truth)
    at_s = (at if at is not None else run.start) - run.start
    pairs = pair_up(objects_of(result), objects_of(truth))
    ran = result.get("models")
    detector = run.settings.get("detector")
    if detector and (not isinstance(ran, Mapping) or detector in ran):
        yield _detector(detector, key_of(result)[0], at_s, pairs)
    for kind, model in classifiers(run.settings).items():
        matched = [p for p in pairs if p.said is not None and p.true is not None and p.said.get("kind") == kind]
        if matched:
            yield Tally(model, key_of(result)[0], at_s, sum(p.right for p in matched), len(matched))


def _detector(model: str, camera: str, at_s: float, pairs: Sequence[Pair]) -> Tally:
    found = sum(p.said is not None and p.true is not None for p in pairs)
    false = sum(p.true is None for p in pairs)
    missed = sum(p.said is None for p in pairs)
    return Tally(model, camera, at_s, 2 * found, 2 * found + false + missed, found, false, missed)


def classifiers(settings: Message) -> dict[str, str]:
    """Returns kind of object -> the model that labels it."""
    table = settings.get("classify")
    return {str(kind): str(model) for kind, model in table.items()} if isinstance(table, Mapping) else {}


def models(settings: Message) -> list[str]:
    """Returns the models that the truth can judge, the detector first."""
    detector = settings.get("detector")
    return list(dict.fromkeys([*([str(detector)] if detector else []), *classifiers(settings).values()]))
