"""What an adaptation wants done by the world around it: frozen values, carried out by the daemon's observer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from drift.jobs import BackgroundJob
from drift.samples import Sample

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class RepairCandidate:
    """A repaired model. `None` means: as it serves now.

    kind: name of the response that made it. head: the head stage's arrays by graph input name. graph: ONNX bytes of the
    backbone. evidence: numbers for the journal. prior: class mix [K] that its outputs assume.
    """

    kind: str
    head: Mapping[str, Array] | None = None
    graph: bytes | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    prior: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Labels wanted, from a teacher or from people. Answer each with `Adaptation.labelled`, in any order, or never."""

    samples: tuple[Sample, ...]
    purpose: str  # "audit", "train", "probation", "check_in"


@dataclass(frozen=True, slots=True, eq=False)
class RunJob:
    """Run `job.step(budget_ns)` as background steps of one lane until it says True (or its error is set)."""

    name: str
    job: BackgroundJob


@dataclass(frozen=True, slots=True, eq=False)
class Promote:
    """Store and serve. Answer with `Adaptation.promoted(name)` or `Adaptation.refused(reason)`."""

    candidate: RepairCandidate
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rollback:
    """Serve variant `to` again. Answer with `Adaptation.rolled_back()` or `Adaptation.refused(reason)`."""

    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the journal. kind: calibrated, alarm, audit, response, judgement, promotion, rollback, refused, …"""

    kind: str
    fields: Mapping[str, Any]


Command = Ask | RunJob | Promote | Rollback | Note
