"""Computes the preemptive relaxation: the most value of jobs in windows, when they may stop and be done in part.

There is one machine, and jobs with a window, an amount of work and a value for each unit of it. Which amounts of work
fit together is a polymatroid, so taking jobs in the order of falling density is optimal (Edmonds 1970), and how much of
a set fits is what earliest deadline first gets done (Glover 1967). Done density by density that is one such pass for
each; here the densities are halved instead, since jobs that compete do so inside stretches of time that are full
anyway.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Stretch = tuple[float, float]
DUST = 1e-3  # work in ns that is left by rounding
HAIR = 1e-10  # relative


@dataclass(frozen=True)
class Jobs:
    """Holds jobs sorted by begin, one entry of each array per job.

    Times and work have the same unit; `density` is value for each unit of work; `owner` counts from 0. Jobs of two
    owners must not have the same density.
    """

    begin: Floats
    end: Floats
    work: Floats
    density: Floats
    owner: Ints

    def __getitem__(self, chosen: Any) -> "Jobs":
        return Jobs(self.begin[chosen], self.end[chosen], self.work[chosen], self.density[chosen], self.owner[chosen])

    def value(self) -> Floats:
        """Returns the sum of the jobs' values by owner."""
        return by_owner(self.owner, self.work * self.density)


def jobs_of(begin: Floats, end: Floats, work: Floats, density: Floats, owner: Ints) -> Jobs:
    """Returns jobs, given in any order. Equal densities of two owners are told apart by raising them by `HAIR`."""
    order = np.argsort(begin, kind="stable")
    return Jobs(begin, end, work, density * (1 + HAIR * owner), owner)[order]


def most_value(jobs: Jobs) -> Floats:
    """Returns the most value that fits, by owner, of one optimal choice; a part of a job has its part of the value."""
    _, full = edf(jobs)
    inside = within(jobs, full)
    safe = jobs[~inside].value()
    return total(safe, _contested(jobs[inside], np.zeros(int(inside.sum()), bool)))


def by_owner(owner: Ints, value: Floats) -> Floats:
    return np.bincount(owner, value).astype(float)


def total(*values: Floats) -> Floats:
    """Returns the sum of values by owner; arrays may end before the last owner."""
    summed = np.zeros(max(map(len, values)))
    for value in values:
        summed[: len(value)] += value
    return summed


def _contested(jobs: Jobs, settled: NDArray[np.bool_]) -> Floats:
    """Returns the value, by owner, of the jobs that are not `settled`.

    Those that are settled will be done in whole, whatever the others get.
    """
    densities = np.unique(jobs.density[~settled])
    if len(densities) == 0:
        return np.zeros(1)
    if len(densities) == 1:
        done, _ = edf(jobs)
        value = (done - jobs.work[settled].sum()) * densities[0]
        return by_owner(jobs.owner[~settled][:1], np.array([value]))
    dense = settled | (jobs.density >= densities[len(densities) // 2])
    _, full = edf(jobs[dense])
    inside = within(jobs, full)
    # The full stretches belong to the dense jobs inside them. Every other dense job is done in whole, outside of them.
    competing, safe = dense & inside, dense & ~inside
    rest = ~inside
    return total(
        jobs[safe & ~settled].value(),
        _contested(jobs[competing], settled[competing]),
        _contested(cut_out(jobs[rest], full), dense[rest]),
    )


def edf(jobs: Jobs) -> tuple[float, list[Stretch]]:
    """Returns how much work gets done, and the disjoint stretches of time, in order, that hold more work than time.

    A stretch has more work in windows inside it than it is long; all of it is used, by such jobs alone.
    """
    begins, ends, works = jobs.begin.tolist(), jobs.end.tolist(), jobs.work.tolist()
    count, at, now, done = len(begins), 0, 0.0, 0.0
    heap: list[tuple[float, float]] = []  # (end, work left); equal ends are as good as each other
    spells: list[tuple[float, float, float]] = []  # worked from, to, on jobs due at
    missed: list[float] = []  # ends of jobs that were not done in whole
    while heap or at < count:
        if not heap:
            now = max(now, begins[at])
        while at < count and begins[at] <= now:
            heappush(heap, (ends[at], works[at]))
            at += 1
        end, left = heappop(heap)
        stop = min(now + left, end)
        # A job that arrives meanwhile and is due later only has to wait.
        while at < count and begins[at] < stop and ends[at] >= end:
            heappush(heap, (ends[at], works[at]))
            at += 1
        if at < count and begins[at] < stop:
            stop = begins[at]
        if stop > now:
            spells.append((now, stop, end))
            done += stop - now
        left -= stop - now
        now = stop
        if left <= DUST:
            done += left
        elif now < end:
            heappush(heap, (end, left))
        else:
            missed.append(end)
    return done, stretches(spells, missed)


def stretches(spells: list[tuple[float, float, float]], missed: list[float]) -> list[Stretch]:
    """Returns the stretches from each missed end back to where something due later was worked on, or nothing.

    No work that was due by that end waited there, so all of it has its window inside.
    """
    found: list[Stretch] = []
    at = len(spells) - 1
    for end in reversed(missed):
        if found and end > found[-1][0]:
            continue  # it lies inside the stretch of a later one
        while at >= 0 and spells[at][0] >= end:
            at -= 1
        begin = end
        while at >= 0 and spells[at][2] <= end and spells[at][1] == begin:
            begin = spells[at][0]
            at -= 1
        if found and found[-1][0] == end:
            found[-1] = (begin, found[-1][1])
        else:
            found.append((begin, end))
    return found[::-1]


def within(jobs: Jobs, full: list[Stretch]) -> NDArray[np.bool_]:
    """Returns which jobs have their window inside one of the stretches."""
    if not full:
        return np.zeros(len(jobs.begin), bool)
    begins, ends = _edges(full)
    at = np.searchsorted(begins, jobs.begin, "right") - 1
    return (at >= 0) & (jobs.end <= ends[at])


def cut_out(jobs: Jobs, full: list[Stretch]) -> Jobs:
    """Returns the same jobs in the time that is left without these stretches."""
    if not full:
        return jobs
    begins, ends = _edges(full)
    before = np.concatenate(([0.0], np.cumsum(ends - begins)))

    def left(times: Floats) -> Floats:
        at = np.searchsorted(begins, times, "right") - 1
        return times - np.where(at >= 0, before[at] + np.minimum(times, ends[at]) - begins[at], 0.0)

    return Jobs(left(jobs.begin), left(jobs.end), jobs.work, jobs.density, jobs.owner)


def _edges(full: list[Stretch]) -> tuple[Floats, Floats]:
    begins, ends = np.array(full).T
    return begins, ends
