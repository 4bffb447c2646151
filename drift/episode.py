"""Tracks one suspected drift from the alarm to its end, and splits its samples by time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from drift.commands import RepairCandidate
from drift.detection.monitor import Alarm
from drift.evaluation.audit import AuditFinding
from drift.samples import Labelled, Sample


@dataclass(slots=True, eq=False)
class Episode:
    """Holds what was asked, found and tried in one episode.

    since_ns: samples from here on show the suspected world.
    """

    alarm: Alarm
    purpose: str  # "audit" or "check_in"
    since_ns: int
    began_ns: int
    chance: list[Sample] = field(default_factory=list)  # drawn at random: the unbiased part of the audit
    far: set[int] = field(
        default_factory=set
    )  # ids of those chosen because they are far: to learn from, not to judge by
    rounds: int = 0
    finding: AuditFinding | None = None
    split_ns: int = 0  # training samples are older than this
    rung: int = 0
    candidate: RepairCandidate | None = None
    promotions: int = 0

    def parts(self, samples: Sequence[Sample], gap_ns: int) -> tuple[list[Sample], list[Sample]]:
        """Returns the samples as (training, held out), cut at `split_ns`.

        Samples in the last `gap_ns` before the cut are in neither, since neighbouring frames show the same objects.
        """
        training = [s for s in samples if self.since_ns <= s.at_ns < self.split_ns - gap_ns]
        return training, [s for s in samples if s.at_ns >= self.split_ns]


def split_time(samples: Sequence[Sample], held_out: float) -> int:
    """Returns the time in ns from which on the newest `held_out` part (0..1) of the samples came; needs one or more."""
    times = np.sort([s.at_ns for s in samples])
    return int(times[min(len(times) - 1, int(len(times) * (1 - held_out)))])


def labelled(known: Sequence[tuple[Sample, int]], block_ns: int) -> Labelled:
    """Returns labelled samples side by side, grouped by stream and time block; no picture is copied."""
    names = sorted({s.stream for s, _ in known})
    group = [names.index(s.stream) * 10**9 + s.at_ns // block_ns % 10**9 for s, _ in known]
    labels = [label for _, label in known]
    return Labelled([s.image for s, _ in known], np.asarray(labels, np.int64), np.asarray(group, np.int64))
