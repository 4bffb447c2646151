"""How much each of several advisers is trusted, by what their mistakes have cost: multiplicative weights.

The update is that of Auer, Cesa-Bianchi, Freund and Schapire (SIAM Journal on Computing 2002); who was not asked keeps
its weight against the others (specialists: Freund, Schapire, Singer and Warmuth, STOC 1997).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp, log


@dataclass
class Trust:
    """Weights in log space: a product of thousands of factors below one would underflow, a sum does not."""

    logs: dict[str, float] = field(default_factory=dict)

    def keep(self, names: Iterable[str]) -> None:
        """From now on these. A newcomer is trusted as the others are on average; who left is forgotten."""
        names = tuple(names)
        if tuple(self.logs) == names:
            return
        known = [self.logs[name] for name in names if name in self.logs]
        average = log_sum(known) - log(len(known)) if known else 0.0
        self.logs = {name: self.logs.get(name, average) for name in names}

    def shares(self) -> dict[str, float]:
        """Of each; they sum to 1."""
        whole = log_sum(self.logs.values())
        return {name: exp(weight - whole) for name, weight in self.logs.items()}

    def punish(self, losses: Mapping[str, float], rate: float) -> None:
        """Each weight times exp(-rate * loss), then those that were asked get what they had together before."""
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
        """Everybody gives this share away, to all alike: who was bad can be good again before long."""
        if share > 0:
            equal = share / len(self.logs)
            self.logs = {name: log((1 - share) * kept + equal) for name, kept in self.shares().items()}


def log_sum(logs: Iterable[float]) -> float:
    """log of the sum of exp, where the terms themselves may be too small or too large for a float."""
    logs = [*logs]
    largest = max(logs)
    return largest + log(sum(exp(each - largest) for each in logs))
