"""Holds a watched classifier, and turns the repository's variants into what drift adapts."""

from dataclasses import dataclass

import numpy as np

from drift.controller import AdaptationController
from drift.repair.deployed import DeployedModel, LinearHead
from porting.errors import UserError
from porting.repository.repository import Repository
from porting.variant import InputSpec, Variant


@dataclass(slots=True)
class Watched:
    """Holds one classifier under watch and the state of its adaptation."""

    adaptation: AdaptationController
    labels: tuple[str, ...]
    input: InputSpec
    broken: str | None = None  # why adaptation is off, while serving goes on
    undone: str | None = None  # the last promotion that could not be loaded
    moved: Variant | None = None  # what the pointer was moved to while we were about to move it

    def labelled(self, sample_id: int, label: str | None, confidence: float) -> None:
        """Passes a label on to the adaptation as an index; a label that the model does not know counts as None."""
        index = self.labels.index(label) if label in self.labels else None
        self.adaptation.labelled(sample_id, index, confidence)


def incumbent(repository: Repository, variant: Variant, like: LinearHead) -> DeployedModel:
    """Returns the serving variant as drift sees it, with its head's weight oriented as in `like`.

    Args:
        repository: where the variant is stored.
        variant: a classifier of two stages, backbone and head.
        like: another head of the same model, for names, orientation and shape.

    Raises:
        UserError: the variant has no head of its own, or one of another shape.
    """
    stages = repository.stages(variant, "")
    if len(stages) != 2 or stages[1].head is None:
        raise UserError(f"{variant.model}/{variant.name}: has no head of its own; serves on, without repair")
    if not stages[0].is_onnx:
        raise UserError(f"{variant.model}/{variant.name}: is no ONNX file; serves on, without repair")
    backbone, head = stages[0].graph, stages[1].head
    arrays = repository.arrays(head)
    weight = arrays.get(like.names[0], np.zeros(0))
    bias = arrays.get(like.names[1], like.bias)
    if weight.shape != (like.weight.T if like.transposed else like.weight).shape:
        raise UserError(f"{variant.model}/{variant.name}: its head has another shape than the reference's")
    return DeployedModel(
        variant.name,
        repository.blob_bytes(backbone),
        like.with_(weight.T if like.transposed else weight, bias),
        None if (prior := variant.made_by.get("prior")) is None else np.asarray(prior, np.float64),
    )
