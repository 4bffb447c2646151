"""Looks at one model's answers, by stream and all together, and says when they fit no world known to be harmless."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drift.detection.thresholds import CalibratedDetector, ReferenceWorld

Array = NDArray[Any]

POOLED = "*"  # the channel of all streams together
GUARDS_MAX = 4  # worlds known to be harmless: the first one and the newest
TRAIL_MAX = 6000
CONFIRM = 2  # tests in a row: a single one just beyond the limit is no alarm


@dataclass(frozen=True, slots=True)
class Alarm:
    """Says that a window is unlike every known world; whether that does harm is for the audit to find.

    kind: "prior" when only the class mix moved, else "covariate". excess: score over limit by test, against the nearest
    world. since_ns: from here on samples are taken to show the new world.
    """

    stream: str
    kind: Literal["prior", "covariate"]
    excess: Mapping[str, float]
    at_ns: int
    since_ns: int


class DriftMonitor:
    """Keeps a window of the last `size` samples of each stream and of `pooled_size` of all, and the worlds it knows.

    block_ns: samples of one stream and one block of this length may depend on each other. guards: a calibrated detector
    for each world known to be harmless.
    """

    def __init__(self, size: int, pooled_size: int, block_ns: int):
        self.size, self.pooled_size, self.block_ns = size, pooled_size, block_ns
        self.known_worlds: list[CalibratedDetector] = []
        self.clear()

    def clear(self) -> None:
        """Forgets all samples, since another variant gave those answers."""
        self._windows: dict[str, deque[tuple[int, Array]]] = {}
        self._fresh: set[str] = set()
        self._beyond: Counter[str] = Counter()  # tests in a row beyond every world
        self._trail: deque[tuple[int, str, Array]] = deque(maxlen=TRAIL_MAX)

    def know(self, guard: CalibratedDetector) -> None:
        """Adds one more harmless world; the first one is kept, of the others at most the newest 3."""
        self.known_worlds.append(guard)
        if len(self.known_worlds) > GUARDS_MAX:
            del self.known_worlds[1]

    def observe(self, stream: str, at_ns: int, answers: Array) -> None:
        self._trail.append((at_ns, stream, answers))
        for channel, size in ((stream, self.size), (POOLED, self.pooled_size)):
            self._windows.setdefault(channel, deque(maxlen=size)).append((at_ns, answers))
            self._fresh.add(channel)

    @property
    def streams(self) -> int:
        return max(1, len(self._windows) - 1)

    def test(self, now_ns: int) -> Alarm | None:
        """Tests the channels that have new samples and a full window.

        Returns the alarm with the largest excess; `None` where there is none. A channel has to be beyond every known
        world in `CONFIRM` tests in a row.
        """
        fresh, self._fresh = sorted(self._fresh), set()
        alarms = [alarm for channel in fresh if (alarm := self._test(channel, now_ns)) is not None]
        return max(alarms, key=lambda alarm: max(alarm.excess.values()), default=None)

    def _test(self, channel: str, now_ns: int) -> Alarm | None:
        window = self._windows[channel]
        if not self.known_worlds or len(window) < (window.maxlen or 1) or (channel == POOLED and self.streams == 1):
            return None
        answers = np.stack([answers for _, answers in window])
        kind = "pooled" if channel == POOLED else "stream"
        excesses = [(guard.worst(excess := guard.excess(kind, answers)), excess) for guard in self.known_worlds]
        worst, excess = min(excesses, key=lambda pair: pair[0])
        self._beyond[channel] = self._beyond[channel] + 1 if worst > 1 else 0
        if self._beyond[channel] < CONFIRM:
            return None
        # The window may have begun before the drift; its newer half is taken for the new world.
        return Alarm(channel, kind_of(excess), excess, now_ns, window[len(window) // 2][0])

    def world(self, since_ns: int) -> ReferenceWorld:
        """Returns what was seen since `since_ns` as a reference, the rows of each stream in time order."""
        seen = [row for row in self._trail if row[0] >= since_ns]
        names = sorted({stream for _, stream, _ in seen})
        seen.sort(key=lambda row: row[1])  # stable: time order within a stream stays
        return ReferenceWorld(
            np.stack([answers for _, _, answers in seen]),
            np.asarray([names.index(stream) for _, stream, _ in seen], np.int64),
            np.asarray([at_ns // self.block_ns for at_ns, _, _ in seen], np.int64),
        )

    def seen(self, since_ns: int) -> int:
        """Returns the number of samples since `since_ns`, of the newest `TRAIL_MAX`."""
        return sum(at_ns >= since_ns for at_ns, _, _ in self._trail)


def kind_of(excess: Mapping[str, float]) -> Literal["prior", "covariate"]:
    """Returns "prior" where the class mix alone moved, else "covariate".

    The mix alone moved where confidence is not lost and, within the predicted classes, the outputs look as before.
    """
    mix_only = excess.get("class_prior", 0) > 1 and excess.get("mean_confidence", 0) <= 1
    return "prior" if mix_only and excess.get("bbsds_given_class", 0) <= 1 else "covariate"
