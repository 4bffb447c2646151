"""Holds the outcome of one system on one scenario."""

from dataclasses import dataclass
from typing import Any

from evaluation.metrics.drilldown import Drilldown
from evaluation.metrics.scores import Scores


@dataclass(frozen=True)
class RunOutcome:
    """Holds the outcome of a job: scores, or the error that ended it."""

    system: str
    index: int  # of the scenario
    facts: dict[str, Any]  # of the scenario, its seed among them
    scores: Scores | None = None
    right: float | None = None  # share of the offered requests answered correctly and in time; None: unknown
    trouble: str = ""
    drilldown: Drilldown | None = None
