"""Additive increase, multiplicative decrease: a batch size that nobody has to profile for."""

from dataclasses import dataclass

from edge.core.events import Time


@dataclass(slots=True)
class Aimd:
    """One more after each full batch in time, a little less after each one that was not.

    `step` > 0 is added, `backoff` 0..1 multiplied. The cap is kept as a fraction: 10 falls to 9, and 9.9 is 9 too.
    """

    step: float = 1.0
    backoff: float = 0.9
    cap: float = 1.0

    def limit(self, budget_ns: Time) -> int:
        """The largest batch to run now, at least 1. What the budget is shows only once it was overrun."""
        return int(self.cap)

    def learn(self, batch: int, full: bool, took_ns: Time, budget_ns: Time, batch_max: int) -> None:
        """`took_ns`: on the device, without waiting. `full`: no larger batch was allowed."""
        if took_ns > budget_ns:
            self.cap = max(1.0, self.cap * self.backoff)
        elif full:
            self.cap = min(self.cap + self.step, float(batch_max))
