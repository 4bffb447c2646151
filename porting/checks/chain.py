"""Loads a variant's stages and runs them one after the other, offline, for comparisons, judgements and references."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from devices.interface import Array, Device, Engine, Tensors
from porting.artefacts import load_stage
from porting.errors import UserError
from porting.images import Image, prepare
from porting.repository.repository import Repository
from porting.variant import InputSpec, Stage, Variant

BATCH = 16  # pictures at a time where the graph takes any number


@dataclass(slots=True)
class ChainOutputs:
    """Holds a model's outputs for pictures, row by row."""

    logits: Array  # float32 [n, K]
    features: Array | None  # float32 [n, D], where the model is cut there


class Chain:
    """Holds engines with the constant inputs that each takes. As a context manager it closes them."""

    def __init__(self, links: Sequence[tuple[Engine, Tensors]]):
        self.links = tuple(links)

    @classmethod
    def of(cls, repository: Repository, variant: Variant, device: Device) -> "Chain":
        """Loads a stored variant. Raises `DeviceError`, `CorruptBlob`."""
        return cls([_link(repository, stage, device) for stage in repository.stages(variant, device.kind)])

    def __enter__(self) -> "Chain":
        return self

    def __exit__(self, *_: object) -> None:
        for engine, _given in self.links:
            engine.close()

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs tensors through all stages; returns the outputs of every stage by name."""
        found: dict[str, Array] = {}
        for engine, given in self.links:
            pool = {**tensors, **found, **given}
            found |= engine.run({spec.name: pool[spec.name] for spec in engine.inputs})
        return found

    def classify(
        self,
        images: Sequence[Image],
        spec: InputSpec,
        output: str,
        features: str | None = None,
        *,
        batch: int = BATCH,
        progress: Callable[[float], None] = lambda share: None,
    ) -> ChainOutputs:
        """Prepares pictures of any size and runs them in batches of `batch`.

        Args:
            images: RGB uint8 [h, w, 3] each; at least one.
            spec: the input to prepare.
            output: name of the tensor with the logits.
            features: name of the tensor with the features; None: they are not kept.
            batch: pictures per run.
            progress: called with the share done, 0..1.

        Raises:
            DeviceError: a run failed. UserError: there are no pictures.
        """
        if not images:
            raise UserError("no pictures to classify")
        logits, vectors = [], []
        for start in range(0, len(images), batch):
            rows = np.stack([prepare(image, spec) for image in images[start : start + batch]])
            found = self.run({spec.name: rows})
            logits.append(found[output])
            if features is not None:
                vectors.append(found[features])
            progress(min(1.0, (start + batch) / len(images)))
        return ChainOutputs(np.concatenate(logits), np.concatenate(vectors) if vectors else None)


def _link(repository: Repository, stage: Stage, device: Device) -> tuple[Engine, Tensors]:
    given = repository.arrays(stage.head) if stage.head else {}
    return load_stage(device, repository, stage), given
