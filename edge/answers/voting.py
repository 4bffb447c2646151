"""Combines what several members say into one label: by weighted votes or by averages of their scores."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from edge.answers.combining import Vote

MEAN_OF_MAX = 1_000  # answers over which a running mean is taken at most: after that, old ones fade


def elected(votes: Sequence[Vote], weight: Callable[[Vote], float]) -> str:
    """Returns the label with the largest sum of weights; a tie goes to the larger sum of scores, then to the first.

    `votes`: at least one.
    """
    totals: dict[str, tuple[float, float]] = {}
    for vote in votes:
        weighed, sure = totals.get(vote.label, (0.0, 0.0))
        totals[vote.label] = (weighed + weight(vote), sure + vote.score)
    return max(totals, key=lambda label: totals[label])  # `max` keeps the first of equals


def agreeing(votes: Sequence[Vote], label: str) -> int:
    """Returns the number of votes for this label."""
    return sum(vote.label == label for vote in votes)


@dataclass
class Means:
    """Keeps the mean scores of each member, which stand in for a member whose answer is missing."""

    counts: dict[str, int] = field(default_factory=dict)
    means: dict[str, dict[str, float]] = field(default_factory=dict)  # member -> label -> mean score

    def learn(self, votes: Sequence[Vote]) -> None:
        """Adds these votes to the running means; a label without a score counts as 0."""
        for vote in votes:
            count = self.counts[vote.member] = min(self.counts.get(vote.member, 0) + 1, MEAN_OF_MAX)
            mean = self.means.setdefault(vote.member, {})
            for label in {**mean, **vote.scores}:
                old = mean.get(label, 0.0)
                mean[label] = old + (vote.scores.get(label, 0.0) - old) / count

    def keep(self, members: Iterable[str]) -> None:
        """Forgets the means of all other members."""
        for gone in set(self.means) - set(members):
            del self.means[gone], self.counts[gone]

    def stand_in(self, member: str) -> Vote | None:
        """Returns a vote made of the member's mean scores, or None if it has never voted."""
        mean = self.means.get(member)
        if not mean:
            return None
        label = min(mean, key=lambda label: (-mean[label], label))
        return Vote(member, label, mean[label], mean)


def surest(votes: Sequence[Vote], weight: Callable[[Vote], float]) -> str:
    """Returns the label with the largest weighted sum of scores; a tie goes to the first label by name.

    A vote without scores counts its own label with its own score. `votes`: at least one.
    """
    totals: dict[str, float] = {}
    for vote in votes:
        for label, score in (vote.scores or {vote.label: vote.score}).items():
            totals[label] = totals.get(label, 0.0) + weight(vote) * score
    return min(totals, key=lambda label: (-totals[label], label))
