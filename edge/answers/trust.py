"""Learns how far to trust each of several members from their losses, by multiplicative weights.

The update is that of Auer, Cesa-Bianchi, Freund and Schapire (SIAM Journal on Computing 2002). A member that was not
asked keeps its weight relative to the others (specialists: Freund, Schapire, Singer and Warmuth, STOC 1997).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, log


@dataclass
class Trust:
    """Holds one weight per member, as logarithms: a product of thousands of factors would underflow."""

    logs: dict[str, float] = field(default_factory=dict)

    def keep(self, names: Iterable[str]) -> None:
        """Makes `names` the members: new ones get the average weight of those that stay, the others are forgotten."""
        names = tuple(names)
        if tuple(self.logs) == names:
            return
        known = [self.logs[name] for name in names if name in self.logs]
        average = log_sum(known) - log(len(known)) if known else 0.0
        self.logs = {name: self.logs.get(name, average) for name in names}

    def shares(self) -> dict[str, float]:
        """Returns the share of trust of each member, 0..1, summing to 1."""
        whole = log_sum(self.logs.values())
        return {name: exp(weight - whole) for name, weight in self.logs.items()}

    def punish(self, losses: Mapping[str, float], rate: float) -> None:
        """Multiplies each asked member's weight by exp(-rate * loss), then restores the sum of their weights.

        `losses`: member -> loss of at least 0; members without a loss keep their share, unknown names are ignored.
        """
        asked = [name for name in losses if name in self.logs]
        if not asked:
            return
        before = log_sum(self.logs[name] for name in asked)
        for name in asked:
            self.logs[name] -= rate * losses[name]
        after = log_sum(self.logs[name] for name in asked)
        for name in asked:
            self.logs[name] += before - after

    def mix(self, share: float) -> None:
        """Takes this share (0..1) of every weight and divides it equally, so that a bad member can recover soon."""
        if share > 0:
            equal = share / len(self.logs)
            self.logs = {name: log((1 - share) * kept + equal) for name, kept in self.shares().items()}


def log_sum(logs: Iterable[float]) -> float:
    """Returns log(sum(exp(x))) without overflow or underflow; `logs` must not be empty."""
    logs = [*logs]
    largest = max(logs)
    return largest + log(sum(exp(each - largest) for each in logs))
