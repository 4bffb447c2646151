"""How urgent a queue is: the sum over its tasks of min(cap, exp((waited + ahead) / slo - 1)), kept as it changes.

What a task waits from now on is the same for all of them, hence the exponential splits: exp((now + ahead) / slo - 1)
times exp(-arrived / slo). The second factor is a task's for life, so tasks of one SLO need one running sum of it. Tasks
that are past the cap are the oldest ones, so a bisection finds them and they are counted instead.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import exp, log

from edge.events import Task, Time
from edge.state import Entry

Kind = tuple[Time, str]  # SLO, name: what the tasks of one sum have in common
SPAN = 8.0  # SLOs between the oldest and the newest of one sum: beyond it too few digits of a double would be left


def urgency(task: Task, now: Time, ahead_ns: Time, cap: float) -> float:
    """Of one task that ends `ahead_ns` from now: 1 exactly at its deadline, less before, at most `cap` after."""
    slo = slo_ns(task)
    exponent = (now - task.arrived_ns + ahead_ns) / slo - 1
    return cap if exponent >= log(cap) else exp(exponent)


def slo_ns(task: Task) -> Time:
    assert task.deadline_ns is not None
    return max(1, task.deadline_ns - task.arrived_ns)


@dataclass(slots=True)
class Sum:
    """Tasks of one SLO in order of arrival; those before index `first` have left."""

    slo: Time
    origin: Time  # the factors are counted from here, so that they stay near 1
    first: int = 0
    arrived: list[Time] = field(default_factory=list)
    until: list[float] = field(default_factory=lambda: [0.0])  # until[i]: sum of the first i factors

    def takes(self, task: Task) -> bool:
        return task.arrived_ns - self.origin <= SPAN * self.slo

    def add(self, task: Task) -> None:
        self.arrived.append(task.arrived_ns)
        self.until.append(self.until[-1] + exp((self.origin - task.arrived_ns) / self.slo))

    def at(self, now: Time, ahead_ns: Time, cap: float) -> float:
        end = now + ahead_ns
        capped = max(self.first, bisect_right(self.arrived, end - self.slo * (1 + log(cap))))
        total = cap * (capped - self.first)
        if capped < len(self.arrived):
            total += (self.until[-1] - self.until[capped]) * exp((end - self.origin) / self.slo - 1)
        return total


@dataclass(slots=True)
class Pressure:
    """The sums of one queue in the order of deadlines. `follow` it before asking. Tasks of one name share a weight."""

    seen: list[Entry] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)  # of what was seen
    sums: dict[Kind, list[Sum]] = field(default_factory=dict)

    def follow(self, queue: list[Entry], name: Callable[[Task], str]) -> None:
        """Take over what was done to it: cheap where tasks left in front and came behind, else all is made anew."""
        if queue == self.seen:
            return
        gone = next((i for i, entry in enumerate(self.seen) if entry is queue[0]), len(self.seen))
        kept = len(self.seen) - gone
        if kept and queue[:kept] == self.seen[gone:]:
            for kind in self.kinds[:gone]:
                self._leave(kind)
            del self.kinds[:gone]
        else:
            kept, self.kinds, self.sums = 0, [], {}
        for _, _, task in queue[kept:]:
            self._come(task, (slo_ns(task), name(task)))
        self.seen = queue[:]

    def at(self, now: Time, ahead_ns: Time, cap: float, weights: Mapping[str, float]) -> float:
        """The weighted sum if nothing of it ends before `ahead_ns` from now. A name without a weight has 1."""
        return sum(
            [
                weights.get(name, 1.0) * part.at(now, ahead_ns, cap)
                for (_, name), parts in self.sums.items()
                for part in parts
            ]
        )

    def _come(self, task: Task, kind: Kind) -> None:
        parts = self.sums.setdefault(kind, [])
        if not parts or not parts[-1].takes(task):
            parts.append(Sum(kind[0], task.arrived_ns))
        parts[-1].add(task)
        self.kinds.append(kind)

    def _leave(self, kind: Kind) -> None:
        parts = self.sums[kind]
        parts[0].first += 1
        if parts[0].first == len(parts[0].arrived):
            del parts[0]
            if not parts:
                del self.sums[kind]
