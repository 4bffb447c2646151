"""From what several members say to one word: votes that count alike, or not, and averages of their scores."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from edge.core.interfaces import Vote

MEAN_OF_MAX = 1_000  # answers that a running mean stands for at most: after that, old ones fade


def elected(votes: Sequence[Vote], weight: Callable[[Vote], float]) -> str:
    """The label with the most weight behind it; of equals the one whose voters are surer, then the one named first."""
    totals: dict[str, tuple[float, float]] = {}
    for vote in votes:
        weighed, sure = totals.get(vote.label, (0.0, 0.0))
        totals[vote.label] = (weighed + weight(vote), sure + vote.score)
    return max(totals, key=lambda label: totals[label])  # the first of equals


def agreeing(votes: Sequence[Vote], label: str) -> int:
    return sum(vote.label == label for vote in votes)


@dataclass
class Means:
    """What each member says on average: stands in for one whose answer did not come in time."""

    counts: dict[str, int] = field(default_factory=dict)
    means: dict[str, dict[str, float]] = field(default_factory=dict)  # member -> label -> mean score

    def learn(self, votes: Sequence[Vote]) -> None:
        for vote in votes:
            count = self.counts[vote.member] = min(self.counts.get(vote.member, 0) + 1, MEAN_OF_MAX)
            mean = self.means.setdefault(vote.member, {})
            for label in {**mean, **vote.scores}:
                old = mean.get(label, 0.0)
                mean[label] = old + (vote.scores.get(label, 0.0) - old) / count

    def keep(self, members: Iterable[str]) -> None:
        """Forget whoever is no member any more."""
        for gone in set(self.means) - set(members):
            del self.means[gone], self.counts[gone]

    def stand_in(self, member: str) -> Vote | None:
        """What it would have said, as far as anybody can tell."""
        mean = self.means.get(member)
        if not mean:
            return None
        label = min(mean, key=lambda label: (-mean[label], label))
        return Vote(member, label, mean[label], mean)


def surest(votes: Sequence[Vote], weight: Callable[[Vote], float]) -> str:
    """The label with the largest weighted sum of scores; of equals the first by name."""
    totals: dict[str, float] = {}
    for vote in votes:
        for label, score in (vote.scores or {vote.label: vote.score}).items():
            totals[label] = totals.get(label, 0.0) + weight(vote) * score
    return min(totals, key=lambda label: (-totals[label], label))
