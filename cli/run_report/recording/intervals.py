"""Computes confidence intervals of an accuracy over blocks of time, since neighbouring frames are alike."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import t as student

from cli.run_report.recording.matching import Tally

BLOCK_S = 3.0
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """Holds a share with its interval.

    All are None where nothing was counted; the interval alone is None with a single block, which says nothing about how
    much blocks differ.
    """

    value: float | None = None  # 0..1
    low: float | None = None
    high: float | None = None
    error: float | None = None  # standard error
    right: int = 0
    of: int = 0
    frames: int = 0
    blocks: int = 0


def accuracy(tallies: Iterable[Tally]) -> AccuracyEstimate:
    """Returns the share of right ones with a 95 % interval. Blocks are one camera's `BLOCK_S`
    seconds, taken as independent.

    The error is that of a ratio estimated from clusters (Cochran 1977, chapters 6 and 9A); the interval is Wilson's
    with the sample size that this error is worth, so that it stays inside 0..1.
    """
    sums: dict[tuple[str, int], list[int]] = {}
    frames = 0
    for tally in tallies:
        block = sums.setdefault((tally.camera, math.floor(tally.at_s / BLOCK_S)), [0, 0])
        block[0] += tally.right
        block[1] += tally.of
        frames += 1
    right, of = sum(b[0] for b in sums.values()), sum(b[1] for b in sums.values())
    if not of:
        return AccuracyEstimate(frames=frames, blocks=len(sums))
    share, k = right / of, len(sums)
    if k < 2:
        return AccuracyEstimate(share, right=right, of=of, frames=frames, blocks=k)
    error = math.sqrt(k / (k - 1) * sum((r - share * n) ** 2 for r, n in sums.values())) / of
    low, high = wilson(share, _worth(share, error, of, k), float(student.ppf((1 + CONFIDENCE) / 2, k - 1)))
    return AccuracyEstimate(share, low, high, error, right, of, frames, k)


def _worth(share: float, error: float, of: int, blocks: int) -> float:
    """Returns how many independent looks the counts are worth, never more than there are. When all or none are right,
    nothing is known about how much blocks differ, and each block counts as one look.
    """
    if not 0 < share < 1:
        return float(min(of, blocks))
    return min(float(of), share * (1 - share) / error**2) if error > 0 else float(of)


def wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Returns Wilson's score interval for a share seen in `n` looks (Wilson 1927)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
