"""Defines what an adaptation asks of the world around it: frozen values that the daemon's observer carries out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from drift.jobs import BackgroundJob
from drift.samples import Sample

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class RepairCandidate:
    """Holds what a repair changed in a model; `None` in a field means "as it serves now".

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
    """Asks a teacher or people for labels of these samples.

    Each label is reported with `AdaptationController.labelled`, in any order, or never.
    """

    samples: tuple[Sample, ...]
    purpose: str  # "audit", "train", "probation", "check_in"


@dataclass(frozen=True, slots=True, eq=False)
class RunJob:
    """Asks to run `job.step(budget_ns)` as background steps of one lane, until it returns True.

    The job is over then, with a result or with its error set.
    """

    name: str
    job: BackgroundJob


@dataclass(frozen=True, slots=True, eq=False)
class Promote:
    """Asks to store a candidate and to let it serve.

    The outcome is reported with `AdaptationController.promoted(name)` or `AdaptationController.refused(reason)`.
    """

    candidate: RepairCandidate
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rollback:
    """Asks to serve variant `to` again.

    The outcome is reported with `AdaptationController.rolled_back()` or `AdaptationController.refused(reason)`.
    """

    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Adds a line to the journal.

    kind: calibrated, alarm, audit, response, judgement, promotion, rollback, refused, …
    """

    kind: str
    fields: Mapping[str, Any]


Command = Ask | RunJob | Promote | Rollback | Note
