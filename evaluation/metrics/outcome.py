"""What came of one system on one scenario."""

from dataclasses import dataclass
from typing import Any

from evaluation.metrics.drilldown import Drilldown
from evaluation.metrics.scores import Scores


@dataclass(frozen=True)
class RunOutcome:
    """What came of a job: scores, or what went wrong in it."""

    system: str
    index: int  # of the scenario
    facts: dict[str, Any]  # of the scenario, its seed among them
    scores: Scores | None = None
    right: float | None = None  # share of the offered requests answered in time and rightly; None: nobody can tell
    trouble: str = ""
    drilldown: Drilldown | None = None
