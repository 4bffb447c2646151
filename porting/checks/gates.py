"""Defines what a model must reach to serve; when a gate refuses it, the old one goes on serving."""

from dataclasses import dataclass

from porting.checks.report import Report


@dataclass(frozen=True, slots=True)
class Gates:
    """Holds the limits; None switches a gate off."""

    accuracy_drop_max: float = 0.01  # below the original's top-1 on the same samples, 0..1
    accuracy_min: float | None = None  # top-1, 0..1
    p99_ms_max: float | None = None  # whole chain at batch 1

    def refusals(self, report: Report) -> list[str]:
        """Returns one line for each gate that the report does not pass; empty when all pass."""
        return [*self._too_wrong(report), *self._too_slow(report)]

    def _too_wrong(self, report: Report) -> list[str]:
        found = report.accuracy
        if found is None:
            if self.accuracy_min is None:
                return []
            return [f"accuracy {self.accuracy_min:g} asked, but there are no labelled samples to measure it on"]
        said = []
        if found.top1 < found.original - self.accuracy_drop_max:
            said.append(f"accuracy {found.top1:.4f}: more than {self.accuracy_drop_max:g} below {found.original:.4f}")
        if self.accuracy_min is not None and found.top1 < self.accuracy_min:
            said.append(f"accuracy {found.top1:.4f}: below {self.accuracy_min:g}")
        return said

    def _too_slow(self, report: Report) -> list[str]:
        if self.p99_ms_max is None or report.p99_ns <= self.p99_ms_max * 1e6:
            return []
        return [f"p99 {report.p99_ns / 1e6:.3f} ms: above {self.p99_ms_max:g} ms"]
