"""Divides a run into phases: before the drift, under it, after the repair; each accuracy is that of one phase."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.run_report.recording.folder import Message, RunFolder, time_of
from cli.run_report.recording.intervals import AccuracyEstimate, accuracy
from cli.run_report.recording.matching import Tally

SETTLE_S = 1.0
LOSS_MIN = 0.02  # a smaller loss does not count: a share of it would be noise over noise
PHASES = ("before", "drifted", "after")

DEFINITIONS = (
    "before: frames taken before the drift.",
    "drifted: frames from the drift to the model's first promotion after it; without one, to the last third.",
    f"after: frames from {SETTLE_S:g} s after the model's last promotion to the end; without one, the last third.",
    "Accuracy of a classifier: right labels among the boxes of its kind that match a true one (greedy, IoU >= 0.5).",
    "Accuracy of a detector: F1 at IoU 0.5, the kind being right. Recall and precision beside it.",
    "Results and truth meet by camera and frame number. Dropped frames count for no accuracy; they are shown apart.",
    "SLO attainment: frames answered in time over all frames that came in, so that every dropped frame is a miss.",
    "Intervals: 95 %, over blocks of one camera's 3 s taken as independent: neighbouring frames show the same things.",
    "regained: (after - drifted) / (before - drifted), where before - drifted is at least 0.02.",
)


@dataclass(frozen=True, slots=True)
class Spans:
    """Holds the seconds from the start, [from, to), of each phase; None where the run has no such phase."""

    before: tuple[float, float] | None
    drifted: tuple[float, float] | None
    after: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Regained:
    """Holds what a model lost by the drift and regained, in accuracy (0..1)."""

    lost: float | None = None
    points: float | None = None  # after - drifted
    share: float | None = None  # points / lost; None for a loss under LOSS_MIN
    low: float | None = None
    high: float | None = None


def times_of(run: RunFolder, model: str, kind: str) -> list[float]:
    """Returns the seconds from the start at which the journal says that `kind` happened to the model, ascending."""
    at = (time_of(e) for e in run.events if e.get("model") == model and kind_of(e) == kind)
    return sorted(t - run.start for t in at if t is not None)


def kind_of(event: Message) -> str:
    return str(event.get("kind") or event.get("event") or event.get("type") or "event")


def spans(duration_s: float, drift_s: float | None, promotions_s: Sequence[float]) -> Spans:
    """Returns the phases, see `DEFINITIONS`. Promotions before the drift are ignored: they repair nothing."""
    if drift_s is None:
        return Spans((0.0, duration_s), None, None)
    later = [at for at in promotions_s if at >= drift_s]
    if later:
        return Spans((0.0, drift_s), (drift_s, later[0]), (later[-1] + SETTLE_S, duration_s))
    third = duration_s * 2 / 3
    if third <= drift_s:
        return Spans((0.0, drift_s), (drift_s, duration_s), None)
    return Spans((0.0, drift_s), (drift_s, third), (third, duration_s))


def within(tallies: Sequence[Tally], span: tuple[float, float] | None, last: bool = False) -> list[Tally]:
    """Returns the tallies of a span; with `last` also those of frames that came after the planned end."""
    if span is None:
        return []
    start, end = span
    return [tally for tally in tallies if (start <= tally.at_s or start <= 0) and (tally.at_s < end or last)]


def phase_tallies(tallies: Sequence[Tally], parts: Spans) -> dict[str, list[Tally]]:
    return {
        "before": within(tallies, parts.before, last=parts.drifted is None),
        "drifted": within(tallies, parts.drifted, last=parts.after is None),
        "after": within(tallies, parts.after, last=True),
    }


def regained(phases: dict[str, AccuracyEstimate]) -> Regained:
    """Returns the share regained with a 95 % interval, by the delta method over the three (independent) phases."""
    before, drifted, after = (phases[name] for name in PHASES)
    if before.value is None or drifted.value is None:
        return Regained()
    lost = before.value - drifted.value
    if after.value is None:
        return Regained(lost)
    points = after.value - drifted.value
    if lost < LOSS_MIN:
        return Regained(lost, points)
    share = points / lost
    if before.error is None or drifted.error is None or after.error is None:
        return Regained(lost, points, share)
    variance = after.error**2 + (share * before.error) ** 2 + ((1 - share) * drifted.error) ** 2
    half = 1.96 * variance**0.5 / lost
    return Regained(lost, points, share, share - half, share + half)


def measure(tallies: Sequence[Tally], parts: Spans) -> dict[str, AccuracyEstimate]:
    return {name: accuracy(part) for name, part in phase_tallies(tallies, parts).items()}
