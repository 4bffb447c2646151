"""How long a policy thinks: the wall time of its decisions, summed for each event."""

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
    """The policy `inner` with a clock around it. Virtual time does not hear of it: deciding is free there.

    `per_event_ns`: for each event that the policy was asked about, from the first question to its None.
    """

    inner: Policy
    clock_ns: Callable[[], int] = field(default=perf_counter_ns, repr=False)
    per_event_ns: "array[int]" = field(default_factory=lambda: array("q"), repr=False, compare=False)
    _spent_ns: int = field(default=0, init=False, repr=False, compare=False)

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        began_ns = self.clock_ns()
        action = self.inner.decide(state, now)
        self._spent_ns += self.clock_ns() - began_ns
        if action is None:
            self.per_event_ns.append(self._spent_ns)
            self._spent_ns = 0
        return action
