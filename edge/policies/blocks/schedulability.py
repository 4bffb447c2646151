"""Decides exactly whether periodic jobs that are not preempted can all meet their deadlines."""

from collections.abc import Sequence

from edge.core.events import Time

Job = tuple[Time, Time]  # period, cost: arrives at most once per period and is due one period after it arrived


def schedulable(jobs: Sequence[Job]) -> bool:
    """Returns whether earliest deadline first on one lane meets all deadlines, whenever the jobs arrive.

    Jeffay, Stanat and Martel (RTSS 1991, theorem 4.1): the utilisation is at most 1; and if a long job has just begun
    when shorter ones arrive, what is due before its own deadline still fits behind it.
    """
    ordered = sorted(jobs)
    if sum(cost / period for period, cost in ordered) > 1:
        return False
    return all(fits_behind(ordered[:at], *ordered[at]) for at in range(1, len(ordered)))


def fits_behind(shorter: Sequence[Job], period: Time, cost: Time) -> bool:
    """Returns whether the shorter jobs that are due within any span still fit behind a job that has just begun.

    `shorter`: jobs with periods of at most `period`. Demand within a span grows only where one of their periods ends,
        so only these spans are examined.
    """
    spans = {turn * each + 1 for each, _ in shorter for turn in range(1, (period - 2) // each + 1)}
    return all(cost + sum((span - 1) // each * took for each, took in shorter) <= span for span in spans)
