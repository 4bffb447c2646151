"""Puts what was made into the repository: pieces of a port, variants derived from variants, the drift reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from devices.artefact import Artefact
from devices.interface import Array, Engine
from porting.checks.chain import ChainOutputs
from porting.errors import UserError
from porting.formats.scorer import Scorer
from porting.images import resize
from porting.repository.repository import Repository
from porting.samples import Samples
from porting.variant import InputSpec, OutputSpec, Stage, Variant

REFERENCE_MAX = 1200  # samples kept for drift detection
_NUMBERS_MAX = 10_000


@dataclass(slots=True)
class Piece:
    """Holds one stage of a port before it is stored.

    artefact: what the device made of its graph. arrays: its constant inputs. A context that closes the engine.
    """

    name: str  # backbone, head, whole
    artefact: Artefact
    arrays: Mapping[str, Array]
    engine: Engine
    memory_grown: int  # bytes by which the process grew while it was loaded and run

    @property
    def size_bytes(self) -> int:
        return len(self.artefact.content) + sum(array.nbytes for array in self.arrays.values())

    def __enter__(self) -> "Piece":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()


def store_pieces(
    repository: Repository, pieces: Sequence[Piece], spec: InputSpec, batches: tuple[int, ...]
) -> tuple[Stage, ...]:
    """Stores the blobs of the pieces; returns the stages that name them. The first one takes pictures by `spec`."""
    stages = []
    for place, piece in enumerate(pieces):
        graph = repository.add_blob(piece.artefact.content)
        head = repository.add_arrays(piece.arrays) if piece.arrays else None
        blobs = blob_sizes(repository, graph, head)
        spec_here = spec if place == 0 else None
        stages.append(Stage(piece.artefact.kind, graph, head, spec_here, tuple(batches), blobs))
    return tuple(stages)


def blob_sizes(repository: Repository, graph: str, head: str | None) -> dict[str, int]:
    """Returns the bytes on disk of a graph's blob and of a head's, where there is one, by digest."""
    return {digest: repository.blob_path(digest).stat().st_size for digest in (graph, head) if digest}


def add_numbered(repository: Repository, variant: Variant, stages: Sequence[Stage]) -> str:
    """Stores a variant under its name, or under name-2, name-3, … when others have it; returns the name it got.

    A stored variant with the same stages, output and measured accuracy is that variant: it is not stored twice. Raises
    `UserError` where 9,999 such names are taken.
    """
    taken = repository.variants(variant.model)
    for number in range(1, _NUMBERS_MAX):
        name = variant.name if number == 1 else f"{variant.name}-{number}"
        if name not in taken:
            repository.add_variant(replace(variant, name=name), stages)
            return name
        if _alike(repository.variant(variant.model, name), variant):
            return name
    raise UserError(f"{variant.model}: {_NUMBERS_MAX} variants are called {variant.name!r}; choose another name")


def _alike(a: Variant, b: Variant) -> bool:
    return (a.stages, a.output, a.accuracy) == (b.stages, b.output, b.accuracy)


def derive(
    repository: Repository,
    parent: Variant,
    *,
    name: str,
    head: Mapping[str, Array] | None = None,
    graph: bytes | None = None,
    made_by: Mapping[str, Any] | None = None,
    accuracy: float | None = None,
) -> Variant:
    """Stores a variant of the parent's structure with another head, another first graph, or both. It does not serve.

    Args:
        name: of the new variant.
        head: replaces the arrays of the stage that has some: the same names and shapes, finite; cast to the old dtypes.
        graph: replaces the first stage's ONNX file (a backbone with re-aligned statistics): same inputs and outputs.
            Where a device has compiled that stage to another kind of artefact, there is no such file to replace.
        made_by: how and with what evidence; free JSON.
        accuracy: 0..1, as judged; `None`: unknown.

    Durations come from the parent's profile. Raises `UserError` for what does not fit the parent, `RepositoryFull`.
    """
    chain = list(repository.stages(parent, ""))
    if graph is not None:
        if not chain[0].is_onnx:
            raise UserError(f"{parent.model}/{parent.name}: its first stage is no ONNX file but {chain[0].kind!r}")
        digest = repository.add_blob(graph)
        chain[0] = replace(chain[0], graph=digest, blobs=blob_sizes(repository, digest, chain[0].head))
    if head is not None:
        place = next((i for i, stage in enumerate(chain) if stage.head), None)
        if place is None:
            raise UserError(f"{parent.model}/{parent.name}: has no head that can be replaced")
        old = chain[place]
        assert old.head is not None
        digest = repository.add_arrays(_fitting(head, repository.arrays(old.head), f"{parent.model}/{parent.name}"))
        chain[place] = replace(old, head=digest, blobs=blob_sizes(repository, old.graph, digest))
    stages = tuple(replace(stage, durations_ns={}) for stage in chain)
    digests = tuple(stage.digest for stage in stages)
    child = Variant(parent.model, name, digests, parent.output, accuracy, parent.name, dict(made_by or {}))
    repository.add_variant(child, stages)
    return child


def _fitting(head: Mapping[str, Array], old: Mapping[str, Array], where: str) -> dict[str, Array]:
    if set(head) != set(old):
        raise UserError(f"{where}: a head of {', '.join(sorted(head))} given, {', '.join(sorted(old))} needed")
    for name, array in head.items():
        if array.shape != old[name].shape or not np.isfinite(array).all():
            raise UserError(f"{where}: {name} must be finite and of shape {old[name].shape}, got {array.shape}")
    return {name: np.ascontiguousarray(array, old[name].dtype) for name, array in head.items()}


def save_reference(
    repository: Repository,
    model: str,
    samples: Samples,
    answers: ChainOutputs,
    spec: InputSpec,
    output: OutputSpec,
) -> None:
    """Stores at most 1200 samples with what the model said about them: drift is measured against these.

    They are spread evenly over all samples, in order; pictures are stored at the model's input size.
    """
    count = len(samples.labels)
    rows = np.arange(count) if count <= REFERENCE_MAX else np.linspace(0, count - 1, REFERENCE_MAX).round().astype(int)
    stream = np.zeros(count, np.int64) if samples.stream is None else samples.stream
    features = np.zeros((count, 0), np.float32) if answers.features is None else answers.features
    repository.save_reference(
        model,
        {
            "images": np.stack([resize(samples.images[row], spec.width, spec.height) for row in rows]),
            "labels": np.asarray(samples.labels[rows], np.int64),
            "probs": Scorer.of(output).format.probabilities(answers.logits)[rows],
            "features": np.asarray(features[rows], np.float32),
            "stream": np.asarray(stream[rows], np.int64),
            "block": np.asarray(samples.block[rows], np.int64),
        },
    )
