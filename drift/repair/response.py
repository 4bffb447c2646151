"""Defines the seam of repairs: one file, one class, one main method each; all work in slices, on a copy."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from drift.commands import RepairCandidate
from drift.detection.monitor import Alarm
from drift.repair.deployed import DeployedModel
from drift.repair.inference import BackboneRunner
from drift.samples import Labelled, Pictures, Replay
from porting.formats.scorer import Scorer

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """Holds all that a response may know. New frames are the training part only; the judge keeps the others.

    fresh: pictures of the new world, n times uint8 [h, w, 3]; fresh_probs: the incumbent's float32 [n, K] for them.
    labelled: those with labels. prior: class frequencies of the reference [K]. scorer: how right answers are.
    stored: earlier variants, newest last. seed: of every random draw of a response.
    """

    incumbent: DeployedModel
    alarm: Alarm
    fresh: Pictures
    fresh_probs: Array
    labelled: Labelled
    replay: Replay
    prior: Array
    forward: BackboneRunner
    scorer: Scorer
    stored: Sequence[DeployedModel] = ()
    seed: int = 0

    def assumed_by(self, variant: DeployedModel) -> Array:
        """Returns the class mix [K] that a variant's outputs assume."""
        return self.prior if variant.prior is None else variant.prior


class Response(Protocol):
    """Repairs a model; built from the options that the config gives for it."""

    name: str
    labels_min: int  # labelled training samples that it needs

    def applies(self, situation: Situation) -> str:
        """Returns "", or why it is of no use here, in a few words.

        Cheap; asked once, before the labels are in, on the loop thread.
        """

    def repair(self, situation: Situation) -> Generator[None, None, RepairCandidate | None]:
        """Yields between slices of a few milliseconds; returns a candidate, or `None` if it found nothing to change."""
