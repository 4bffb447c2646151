"""One suspected drift, from the alarm to its end: what was asked, found and tried. Splits its samples by time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from drift.commands import RepairCandidate
from drift.detection.monitor import Alarm
from drift.evaluation.audit import AuditFinding
from drift.samples import Labelled, Sample


@dataclass(slots=True, eq=False)
class Episode:
    """State of an episode. `since_ns`: samples from here on show the suspected world."""

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
        """(training, held out): cut at `split_ns` with a gap, since neighbouring frames show the same objects."""
        training = [s for s in samples if self.since_ns <= s.at_ns < self.split_ns - gap_ns]
        return training, [s for s in samples if s.at_ns >= self.split_ns]


def split_time(samples: Sequence[Sample], held_out: float) -> int:
    """The time after which the newest `held_out` part of the samples came."""
    times = np.sort([s.at_ns for s in samples])
    return int(times[min(len(times) - 1, int(len(times) * (1 - held_out)))])


def labelled(known: Sequence[tuple[Sample, int]], block_ns: int) -> Labelled:
    """Labelled samples side by side; no picture is copied. Group: stream and block."""
    names = sorted({s.stream for s, _ in known})
    group = [names.index(s.stream) * 10**9 + s.at_ns // block_ns % 10**9 for s, _ in known]
    labels = [label for _, label in known]
    return Labelled([s.image for s, _ in known], np.asarray(labels, np.int64), np.asarray(group, np.int64))
