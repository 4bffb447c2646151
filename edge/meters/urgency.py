"""Sums up how urgent all waiting tasks will be at a given time: min(cap, exp((waited + ahead) / slo - 1)) each.

Since a task is due one SLO after it arrived, the exponent is (time - due) / slo: 0 at its deadline. It is cut off at
log(cap) before the exponential is taken, so that nothing overflows however late a task is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.events import Task, Time
from edge.core.queues import Entry, Queues

Floats = NDArray[Any]


@dataclass(slots=True)
class QueueColumn:
    """Holds one queue as arrays with one element per task.

    `seen`: the queue as it was when the arrays were made.
    """

    seen: list[Entry]
    due_ns: Floats
    slo_ns: Floats
    name: NDArray[np.intp]  # number of the name under which the task is weighted

    @staticmethod
    def of(queue: list[Entry], number: Callable[[Task], int]) -> "QueueColumn":
        """Returns the arrays of a queue; `number` maps a task to the number of its name."""
        due = np.array([task.deadline_ns for _, _, task in queue], np.float64)
        came = np.array([task.arrived_ns for _, _, task in queue], np.float64)
        return QueueColumn(queue[:], due, np.maximum(1.0, due - came), np.array([number(task) for _, _, task in queue]))


@dataclass
class Pressure:
    """Computes the summed urgency of all queues; `follow` reads only queues that have changed.

    `name`: maps a task to the name under which it is weighted.
    `cap`: largest urgency of one task, above 0.
    """

    name: Callable[[Task], str]
    cap: float
    columns: dict[str, QueueColumn] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    weights: Floats | None = None  # by number of the name; None: all tasks count alike

    def follow(self, queues: Queues, weights: Mapping[str, float] | None = None) -> None:
        """Reads the queues; to be called before asking. A name without a weight has the weight 1."""
        self.columns = {
            digest: column
            if (column := self.columns.get(digest)) is not None and column.seen == queue
            else QueueColumn.of(queue, self._number)
            for digest, queue in queues.items()
        }
        self.weights = np.array([weights.get(name, 1.0) for name in self.names]) if weights else None

    def after(self, at_ns: Sequence[Time]) -> Floats:
        """Returns the weighted sum over all waiting tasks at each of these times, shape (len(at_ns),)."""
        columns = [*self.columns.values()]
        due, slo = (np.concatenate([getattr(column, each) for column in columns]) for each in ("due_ns", "slo_ns"))
        urgencies = self._urgencies(np.array(at_ns, np.float64)[:, None], due, slo)
        if self.weights is None:
            return np.asarray(urgencies.sum(axis=1))
        return np.asarray(urgencies @ self.weights[np.concatenate([column.name for column in columns])])

    def of(self, digest: str, count: int, at_ns: Time) -> float:
        """Returns the weighted sum over the first `count` tasks of one queue at this time."""
        column = self.columns[digest]
        urgencies = self._urgencies(at_ns, column.due_ns[:count], column.slo_ns[:count])
        return float(urgencies.sum() if self.weights is None else urgencies @ self.weights[column.name[:count]])

    def _urgencies(self, at_ns: Floats | Time, due_ns: Floats, slo_ns: Floats) -> Floats:
        return np.exp(np.minimum((at_ns - due_ns) / slo_ns, log(self.cap)))

    def _number(self, task: Task) -> int:
        return self.names.setdefault(self.name(task), len(self.names))
