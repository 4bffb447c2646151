"""What a frame finds, the same under every policy: by a hash of the frame, or as it was recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import exp

from edge.events import Task

FINDS_MAX = 1_000  # of one kind in one frame


@dataclass(frozen=True)
class Averages:
    """So many of each kind in the mean, by Poisson. `means`: model -> kind -> items in a frame."""

    means: Mapping[str, Mapping[str, float]]
    seed: int = 0

    def __call__(self, task: Task) -> Mapping[str, int]:
        kinds = self.means.get(task.model)
        if not kinds or task.parent is not None:
            return {}
        frame = task.requests[0]
        return {kind: poisson(chance(self.seed, frame, task.model, kind), mean) for kind, mean in kinds.items()}


@dataclass(frozen=True)
class AsRecorded:
    """`found`: request -> model -> kind -> items."""

    found: Mapping[int, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    def __call__(self, task: Task) -> Mapping[str, int]:
        return self.found.get(task.requests[0], {}).get(task.model, {}) if task.parent is None else {}


def chance(*named: int | str) -> float:
    """A number in [0, 1) that depends on these alone."""
    return int.from_bytes(sha256(repr(named).encode()).digest()[:6], "big") / 2**48


def poisson(chance: float, mean: float) -> int:
    """The number whose place in a Poisson distribution of this mean is `chance`; at most FINDS_MAX."""
    number, term = 0, exp(-mean)
    below = term
    while below <= chance and number < FINDS_MAX:
        number += 1
        term *= mean / number
        below += term
    return number
