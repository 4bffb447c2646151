"""Can periodic jobs that nothing interrupts all be on time? Exact, and quick to find out. A pure function."""

from collections.abc import Sequence

from edge.core.events import Time

Job = tuple[Time, Time]  # period, cost: comes once in a period at the earliest, and is due a period after it came


def schedulable(jobs: Sequence[Job]) -> bool:
    """By the earliest deadline first, on one lane, whenever they come.

    Jeffay, Stanat and Martel (RTSS 1991, theorem 4.1): the lane is not asked for more than all its time; and where a
    long job has just begun as shorter ones come, what is due before its own deadline still fits behind it.
    """
    ordered = sorted(jobs)
    if sum(cost / period for period, cost in ordered) > 1:
        return False
    return all(fits_behind(ordered[:at], *ordered[at]) for at in range(1, len(ordered)))


def fits_behind(shorter: Sequence[Job], period: Time, cost: Time) -> bool:
    """Demand within a span grows only where one of the shorter periods is full: these spans are looked at."""
    spans = {turn * each + 1 for each, _ in shorter for turn in range(1, (period - 2) // each + 1)}
    return all(cost + sum((span - 1) // each * took for each, took in shorter) <= span for span in spans)
