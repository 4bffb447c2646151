"""Measures the wall time of a policy's decisions, summed per event."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

from edge.core.events import Action, Task, Time
from edge.core.interfaces import Policy
from edge.core.state import State


@dataclass
class Timed:
    """Wraps the policy `inner` with a clock. Virtual time is not affected: there, deciding takes no time.

    `per_event_ns`: for each event that the policy was asked about, the time from the first question to its None.
    """

    inner: Policy
    clock_ns: Callable[[], int] = field(default=perf_counter_ns, repr=False)
    per_event_ns: "array[int]" = field(default_factory=lambda: array("q"), repr=False, compare=False)
    _spent_ns: int = field(default=0, init=False, repr=False, compare=False)

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        """Asks the inner policy, and completes the entry of an event when that answers None."""
        began_ns = self.clock_ns()
        action = self.inner.decide(state, now)
        self._spent_ns += self.clock_ns() - began_ns
        if action is None:
            self.per_event_ns.append(self._spent_ns)
            self._spent_ns = 0
        return action
