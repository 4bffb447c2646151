"""Reports what porting did and found, as a table for a terminal and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from porting.checks.profiler import Timing


@dataclass(slots=True)
class AccuracyReport:
    """Holds the top-1 accuracy on labelled samples."""

    top1: float  # 0..1, of what was stored
    original: float  # 0..1, of the model before it was cut
    samples: int
    by_label: Mapping[str, float]  # share found of each label's samples, 0..1


@dataclass(slots=True)
class StageReport:
    """Describes one stage as it was stored."""

    name: str  # backbone, head, whole
    digest: str  # of the stage
    graph: str  # blob
    size_bytes: int  # on disk, with its head's arrays
    memory_bytes: int  # what the process grew by while it was loaded and measured
    timings: Mapping[int, Timing]  # by batch size


@dataclass(slots=True)
class Report:
    """Describes the outcome of porting one model."""

    model: str
    variant: str
    source: str
    kind: str
    device: str
    labels: tuple[str, ...]
    input: Mapping[str, Any]
    repairs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stages: list[StageReport] = field(default_factory=list)
    difference: float = (
        0.0  # largest distance of the stored model's outputs from the original's, see compare.Difference
    )
    accuracy: AccuracyReport | None = None
    gates: list[str] = field(default_factory=list)  # gates that said no; empty: all passed
    served: bool = False

    @property
    def p99_ns(self) -> int:
        """Returns the p99 of the whole chain at batch 1, in ns: the sum over its stages."""
        return sum(stage.timings[1].p99_ns for stage in self.stages if 1 in stage.timings)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values for `json.dumps`."""
        return {**asdict(self), "labels": list(self.labels), "p99_ns": self.p99_ns}

    def table(self) -> RenderableType:
        """Returns the report as a table for a terminal."""
        facts = Table.grid(padding=(0, 2))
        for name, value in self._facts():
            facts.add_row(Text(name, style="bold"), value)
        parts: list[RenderableType] = [facts, self._timings()]
        if self.accuracy is not None and len(self.accuracy.by_label) <= 20:
            parts.append(self._by_label(self.accuracy))
        return Group(*parts)

    def _facts(self) -> list[tuple[str, RenderableType]]:
        served = "serves now" if self.served else "stored, does not serve"
        rows: list[tuple[str, str]] = [("model", f"{self.model} / {self.variant}: {served}"), ("from", self.source)]
        spec = self.input
        scaling = f"x * {spec['scale']:.6g}, mean {_plain(spec['mean'])}, std {_plain(spec['std'])}"
        scaling = scaling if not str(spec["dtype"]).startswith("uint") else "as it is"
        rows.append(("input", f"{spec['width']}x{spec['height']} {spec['color']} {spec['layout']}, {scaling}"))
        rows.append(("output", f"{self.kind}, {len(self.labels)} labels: {_shortened(', '.join(self.labels))}"))
        rows.append(("difference", f"{self.difference:.2g} between the original's outputs and the stored model's"))
        if self.accuracy is not None:
            found = self.accuracy
            rows.append(("accuracy", f"{found.top1:.4f} on {found.samples} samples (original {found.original:.4f})"))
        rows += [("repaired", text) for text in self.repairs] + [("note", text) for text in self.notes]
        return [(name, Text(text)) for name, text in rows + [("gate: no", text) for text in self.gates]]

    def _timings(self) -> Table:
        table = Table(title=f"milliseconds on {self.device}", title_justify="left")
        for heading in ("stage", "batch", "p50", "p99", "mean", "runs", "KiB on disk", "MiB in memory"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        for stage in self.stages:
            for place, (batch, t) in enumerate(stage.timings.items()):
                first = place == 0
                times = [f"{ns / 1e6:.3f}" for ns in (t.p50_ns, t.p99_ns, t.mean_ns)]
                sizes = [f"{stage.size_bytes / 1024:.0f}", f"{stage.memory_bytes / 2**20:.1f}"] if first else ["", ""]
                table.add_row(stage.name if first else "", str(batch), *times, str(t.runs), *sizes)
        return table

    def _by_label(self, found: AccuracyReport) -> Table:
        table = Table(title="accuracy by label", title_justify="left")
        table.add_column("label")
        table.add_column("found", justify="right")
        for label, share in found.by_label.items():
            table.add_row(label, f"{share:.3f}")
        return table


def _plain(values: Any) -> str:
    return "/".join(f"{value:g}" for value in values)


def _shortened(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else text[:limit] + " …"
