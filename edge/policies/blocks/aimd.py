"""Finds a batch size without a profile, by additive increase and multiplicative decrease."""

from dataclasses import dataclass

from edge.core.events import Time


@dataclass(slots=True)
class Aimd:
    """Raises the cap after each full batch that was in time and lowers it after each batch that was not.

    `step`: tasks that are added, above 0.
    `backoff`: factor that the cap is multiplied with, 0..1.
    `cap`: present cap, kept as a fraction: 10 falls to 9, and 9.9 limits a batch to 9 too.
    """

    step: float = 1.0
    backoff: float = 0.9
    cap: float = 1.0

    def limit(self, budget_ns: Time) -> int:
        """Returns the largest batch to run now, at least 1; ignores the budget, since only an overrun teaches."""
        return int(self.cap)

    def learn(self, batch: int, full: bool, took_ns: Time, budget_ns: Time, batch_max: int) -> None:
        """Updates the cap with one finished batch.

        `full`: whether no larger batch was allowed.
        `took_ns`: time on the device, without waiting.
        `budget_ns`: time that the batch was allowed to take.
        `batch_max`: largest batch that the stage accepts.
        """
        if took_ns > budget_ns:
            self.cap = max(1.0, self.cap * self.backoff)
        elif full:
            self.cap = min(self.cap + self.step, float(batch_max))
