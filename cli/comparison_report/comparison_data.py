"""Holds what the page and the pictures of a comparison show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.comparison.options import focus_of
from evaluation.metrics.drilldown import Drilldown
from evaluation.metrics.summary import SummaryRow

Json = Mapping[str, Any]


SHOWN_MAX = 7  # systems in colour, beside grey ones


@dataclass(frozen=True)
class ComparisonData:
    """Holds the rows of a comparison. `near`: arrivals -> system -> details of a run at the focus load."""

    rows: Sequence[SummaryRow]
    baseline: str
    near: Mapping[str, Mapping[str, Drilldown]]
    document: Json  # as written by --json

    def loads(self) -> list[float]:
        return sorted({row.facts["load"] for row in self.rows})

    def arrivals(self) -> list[str]:
        return [*dict.fromkeys(row.facts["arrivals"] for row in self.rows)]

    def focus(self) -> float:
        return focus_of(self.loads())

    def at(self, arrivals: str, load: float) -> list[SummaryRow]:
        """Returns the rows of these arrivals and load, the most goodput first."""
        return [row for row in self.rows if row.facts["arrivals"] == arrivals and row.facts["load"] == load]

    def own(self, arrivals: str, load: float) -> SummaryRow | None:
        """Returns the baseline's row; None where it has none."""
        return next((row for row in self.at(arrivals, load) if row.system == self.baseline), None)

    def models(self) -> list[str]:
        return sorted({model for row in self.rows for model in row.attainment_of})

    def ranked(self) -> list[str]:
        """Returns all systems, the most goodput over all rows first."""
        total: dict[str, float] = {}
        for row in self.rows:
            total[row.system] = total.get(row.system, 0.0) + (row["goodput"] or 0.0)
        return sorted(total, key=lambda name: (-total[name], name))

    def shown(self) -> list[str]:
        """Returns the systems drawn in colour, `SHOWN_MAX` at most: the baseline, the best, the worst for scale."""
        ranked = self.ranked()
        best = [self.baseline, *(name for name in ranked if name != self.baseline)]
        return best if len(best) <= SHOWN_MAX else [*best[: SHOWN_MAX - 1], ranked[-1]]
