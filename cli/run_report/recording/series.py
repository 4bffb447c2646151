"""Computes what the pictures plot over time: accuracy in a sliding window, latency per bin, shares of the device."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cli.run_report.recording.folder import Message, RunFolder, number, time_of
from cli.run_report.recording.intervals import AccuracyEstimate, accuracy
from cli.run_report.recording.matching import Tally

WINDOW_S = 6.0  # of the accuracy curves: two blocks of each camera
BIN_S = 2.0  # of the latency curves
ACTIVITIES = ("inference", "training", "labelling", "loading", "idle")


@dataclass(frozen=True, slots=True)
class AnswerPoint:
    """Holds the latency of one answered frame and whether it met its SLO."""

    at_s: float
    camera: str
    total_ms: float
    met: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """Holds the latencies of one bin of time."""

    at_s: float  # middle
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Slice:
    """Holds what the device did from one stats message to the next, as shares that add up to 1."""

    start_s: float
    end_s: float
    shares: Mapping[str, float]


def quantile(values: Sequence[float], q: float) -> float | None:
    """Returns the smallest value that at least `q` of them do not exceed (nearest rank); None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


def curve(
    tallies: Sequence[Tally], duration_s: float, cuts_s: Sequence[float] = (), window_s: float = WINDOW_S
) -> list[tuple[float, AccuracyEstimate]]:
    """Returns the accuracy once a second over a centred window that never crosses a cut (a drift, a promotion), so that
    a step stays a step. Moments in which nothing was counted are left out.
    """
    ordered = sorted(tallies, key=lambda tally: tally.at_s)
    times = [tally.at_s for tally in ordered]
    edges = [0.0, *sorted(cut for cut in set(cuts_s) if 0 < cut < duration_s), max(duration_s, 0.0)]
    points = []
    for start, end in pairwise(edges):
        for at in (start, *range(math.floor(start) + 1, math.ceil(end)), end):
            low = max(at - window_s / 2, start) if start > 0 else at - window_s / 2
            high = min(at + window_s / 2, end) if end < duration_s else at + window_s / 2
            point = accuracy(ordered[bisect_left(times, low) : bisect_left(times, high)])
            if point.value is not None:
                points.append((float(at), point))
    return points


def answers(run: RunFolder) -> list[AnswerPoint]:
    """Returns each answered frame's latency and verdict, by the time it came in; results without
    a latency are left out.
    """
    found = []
    for result in run.results:
        timings, slo = result.get("timings_ms"), result.get("slo")
        total = number(timings.get("total")) if isinstance(timings, Mapping) else None
        at = number(result.get("received_time")) or time_of(result)
        if total is None or at is None:
            continue
        met = bool(slo.get("met")) if isinstance(slo, Mapping) else run.slo_ms is None or total <= run.slo_ms
        found.append(AnswerPoint(at - run.start, str(result.get("camera")), total, met))
    return found


def latency(found: Sequence[AnswerPoint], bin_s: float = BIN_S) -> list[Bin]:
    """Returns the median and p99 of each bin."""
    bins: dict[int, list[float]] = {}
    for answer in found:
        bins.setdefault(math.floor(answer.at_s / bin_s), []).append(answer.total_ms)
    return [
        Bin((b + 0.5) * bin_s, quantile(values, 0.5) or 0.0, quantile(values, 0.99) or 0.0)
        for b, values in sorted(bins.items())
    ]


def latency_top(slo_ms: float | None, found: Sequence[AnswerPoint]) -> float:
    """Returns where the latency axis ends, in ms: there is room for all but extreme outliers,
    which would flatten the rest.
    """
    worst = max(a.total_ms for a in found)
    usual = quantile([a.total_ms for a in found], 0.99) or worst
    return max(1.0, 1.12 * max(slo_ms or 0.0, min(worst, 3 * max(usual, slo_ms or usual))))


def drops(run: RunFolder) -> list[tuple[float, int]]:
    """Returns the seconds from the start and how many frames were dropped since the stats message before."""
    found, before = [], 0
    for message in run.stats:
        now, at = dropped_total(message), time_of(message)
        if at is not None and now > before:
            found.append((at - run.start, now - before))
        before = max(before, now)
    return found


def dropped_total(stats: Message) -> int:
    frames = stats.get("frames")
    return sum(reasons(frames.get("dropped")).values()) if isinstance(frames, Mapping) else 0


def reasons(dropped: object) -> dict[str, int]:
    """Returns drops by reason; a bare number is a drop without one."""
    if isinstance(dropped, Mapping):
        return {str(reason): int(n) for reason, n in dropped.items() if number(n)}
    n = number(dropped)
    return {"unknown": int(n)} if n else {}


def shares_of(stats: Message, key: str = "time_share") -> dict[str, float]:
    """Returns the time shares in a stats message, since the daemon came up; the rest is idle."""
    said = stats.get(key)
    if not isinstance(said, Mapping):
        return {}
    shares = {str(name): max(0.0, number(value) or 0.0) for name, value in said.items()}
    shares.setdefault("idle", max(0.0, 1.0 - sum(shares.values())))
    return shares


def slices(run: RunFolder) -> list[Slice]:
    """Returns what the device did between stats messages: as the daemon states it, else by the
    difference of its cumulative shares.
    """
    found = []
    spent: dict[str, float] = {}
    clock = 0.0
    for message in run.stats:
        up, at, shares = number(message.get("uptime_s")), time_of(message), shares_of(message)
        if up is None or at is None or not shares or up <= clock:
            continue
        now = {name: share * up for name, share in shares.items()}
        went = shares_of(message, "time_share_recent") or _went(spent, now)
        whole = sum(went.values()) or 1.0
        end = at - run.start
        found.append(Slice(max(0.0, end - (up - clock)), end, {name: s / whole for name, s in went.items()}))
        spent, clock = now, up
    return [s for s in found if s.end_s > s.start_s]


def _went(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: max(0.0, seconds - before.get(name, 0.0)) for name, seconds in now.items()}
