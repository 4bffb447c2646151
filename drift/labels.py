"""Tracks labels asked for and labels given: every question ends answered, unsure or expired, and each is counted."""

from collections.abc import Iterable, Sequence

from drift.commands import Ask
from drift.samples import Sample

KEPT_MAX = 800


class Labels:
    """Holds open questions and known labels; answers may come late, out of order, twice, or never."""

    def __init__(self, classes: int, confidence_min: float, timeout_ns: int):
        self.classes, self.confidence_min, self.timeout_ns = classes, confidence_min, timeout_ns
        self.known: dict[int, tuple[Sample, int]] = {}  # by sample id, oldest first
        self._waiting: dict[int, tuple[Sample, int]] = {}  # with the time it expires
        self.asked = self.answered = self.unsure = self.expired = self.unasked = 0

    def ask(self, samples: Iterable[Sample], now_ns: int, purpose: str) -> Ask | None:
        """Returns a question for those samples that were not asked for already; `None` where there are none."""
        wanted = tuple(s for s in samples if s.id not in self.known and s.id not in self._waiting)
        self._waiting.update({s.id: (s, now_ns + self.timeout_ns) for s in wanted})
        self.asked += len(wanted)
        return Ask(wanted, purpose) if wanted else None

    def answer(self, sample_id: int, label: int | None, confidence: float = 1.0) -> None:
        """Closes a question.

        label: index into the model's classes. `None`, an index out of range, and a confidence below the minimum count
        as `unsure`; an answer to no open question is counted as `unasked`.
        """
        if sample_id not in self._waiting:
            self.unasked += 1
            return
        sample, _ = self._waiting.pop(sample_id)
        if label is None or not 0 <= label < self.classes or confidence < self.confidence_min:
            self.unsure += 1
            return
        self.answered += 1
        self.known[sample_id] = (sample, label)
        if len(self.known) > KEPT_MAX:
            del self.known[next(iter(self.known))]

    def settled(self, now_ns: int) -> bool:
        """Gives up questions that have expired at `now_ns`; returns whether none is open any more."""
        late = [i for i, (_, expires_ns) in self._waiting.items() if expires_ns <= now_ns]
        for i in late:
            del self._waiting[i]
        self.expired += len(late)
        return not self._waiting

    def of(self, samples: Sequence[Sample]) -> list[tuple[Sample, int]]:
        """Returns those samples that have a label, each with it, in the same order."""
        return [self.known[s.id] for s in samples if s.id in self.known]

    def forget(self) -> None:
        """Drops all labels and open questions, which are of no use to the question that begins now."""
        self.expired += len(self._waiting)
        self.known.clear()
        self._waiting.clear()
