"""Slow and plain ways to the same numbers: nothing here is clever enough to be wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from heapq import heappop, heappush
from itertools import combinations

Chain = tuple[str, ...]


def edf_work(jobs: Sequence[tuple[float, float, float]]) -> float:
    """(begin, end, work): how much gets done earliest deadline first, with credit for parts, event by event."""
    coming = sorted(jobs)
    waiting: list[tuple[float, float]] = []
    now = done = 0.0
    while coming or waiting:
        if not waiting:
            now = max(now, coming[0][0])
        while coming and coming[0][0] <= now:
            _, end, work = coming.pop(0)
            heappush(waiting, (end, work))
        end, work = heappop(waiting)
        if end <= now:
            continue
        spent = min(work, end - now, coming[0][0] - now if coming else work)
        now, done = now + spent, done + spent
        if work - spent > 1e-9:
            heappush(waiting, (end, work - spent))
    return done


def value_density_by_density(jobs: Sequence[tuple[float, float, float, float]]) -> float:
    """(begin, end, work, density): one pass for each density, each worth what it adds."""
    value = before = 0.0
    for density in sorted({job[3] for job in jobs}, reverse=True):
        done = edf_work([job[:3] for job in jobs if job[3] >= density])
        value, before = value + (done - before) * density, done
    return value


@dataclass(frozen=True)
class Item:
    """A request. `chains`: stages to go through, any of them, with what it is worth. `done`: stages that are over."""

    ready: int
    deadline: int
    chains: tuple[tuple[Chain, float], ...]
    done: Chain = ()

    def next_stages(self) -> set[str]:
        at = len(self.done)
        return {chain[at] for chain, _ in self.chains if chain[:at] == self.done and len(chain) > at}

    def worth(self) -> float:
        return max((value for chain, value in self.chains if chain == self.done), default=0.0)


def best_by_force(items: Sequence[Item], durations: Mapping[str, Mapping[int, int]], lanes: int = 1) -> float:
    """The most that any schedule of batches earns, all of the future known: every batch, every order, every lane.

    No chain may be the begin of another.
    """

    @cache
    def best(free: tuple[int, ...], open_: tuple[Item, ...]) -> float:
        most = 0.0
        for lane_free in sorted(set(free)):
            for stage in sorted({stage for item in open_ for stage in item.next_stages()}):
                able = [at for at, item in enumerate(open_) if stage in item.next_stages()]
                for size, took in durations[stage].items():
                    for chosen in combinations(able, size):
                        end = max(lane_free, *(open_[at].ready for at in chosen)) + took
                        if end <= min(open_[at].deadline for at in chosen):
                            most = max(most, after(free, open_, lane_free, stage, end, chosen))
        return most

    def after(
        free: tuple[int, ...], open_: tuple[Item, ...], lane_free: int, stage: str, end: int, chosen: tuple[int, ...]
    ) -> float:
        moved = [replace(open_[at], ready=end, done=(*open_[at].done, stage)) for at in chosen]
        left = [item for at, item in enumerate(open_) if at not in chosen]
        lanes_left = [*free]
        lanes_left[lanes_left.index(lane_free)] = end
        earned = sum(item.worth() for item in moved)
        waiting = [*left, *(item for item in moved if item.next_stages())]
        return earned + best(tuple(sorted(lanes_left)), tuple(sorted(waiting, key=repr)))

    return best((0,) * lanes, tuple(sorted(items, key=repr)))


def best_of_one_model(windows: Sequence[tuple[int, int]], took: Callable[[int], int], batch_max: int) -> int:
    """Requests of one model in time at most, on one lane. Both arrivals and deadlines must ascend: then batches of
    neighbours, in order, are as good as any. `earliest[k]`: when k of those seen so far can be done.
    """
    rows: list[dict[int, int]] = [{0: 0}]  # after j requests: how many are done -> the earliest end
    for j, (arrival, _) in enumerate(windows, 1):
        row = dict(rows[j - 1])
        for size in range(1, min(batch_max, j) + 1):
            oldest_deadline = windows[j - size][1]
            for count, end in rows[j - size].items():
                done = max(end, arrival) + took(size)
                if done <= oldest_deadline and done < row.get(count + size, done + 1):
                    row[count + size] = done
        rows.append(row)
    return max(rows[-1])
