"""Describes answers that make one word of several, by the votes of their members."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from edge.core.events import Request


@dataclass(frozen=True, slots=True)
class Vote:
    """Holds what one member of an ensemble said."""

    member: str  # "model/variant"
    label: str
    score: float = 1.0  # how sure, 0..1
    scores: Mapping[str, float] = field(default_factory=dict)  # label -> 0..1, where the member gives them


@dataclass(frozen=True, slots=True)
class EnsembleVerdict:
    """Holds what an ensemble says."""

    label: str  # empty: nothing, for want of agreement
    confidence: float  # share of all members asked that agree with it, 0..1


@runtime_checkable
class Combines(Protocol):
    """Makes one word of several. Called once for each answered request, where the results are."""

    def combine(self, request: Request, votes: Sequence[Vote]) -> EnsembleVerdict:
        """Returns the verdict. `votes`: of the members that came in time, at least one, in the order opened."""
