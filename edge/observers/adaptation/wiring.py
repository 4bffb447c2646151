"""Builds the adaptation of each watched classifier from what the repository holds of it."""

from time import monotonic_ns
from typing import Any

import onnx

from devices.interface import Device, Engine
from drift.controller import AdaptationController
from drift.repair.deployed import DeployedModel, LinearHead
from drift.repair.inference import BackboneRunner
from drift.samples import Reference
from drift.settings import DriftSettings
from edge.answers.single import Single
from edge.core.events import Served
from edge.observers.adaptation.observer import step_app, step_served
from edge.observers.adaptation.watched_model import Watched, incumbent
from edge.observers.serving_watch import serving
from porting.checks.equivalence import load_model
from porting.errors import UserError
from porting.formats.format import LabelFormat
from porting.formats.registry import format_of
from porting.formats.scorer import Scorer
from porting.repository.repository import Repository
from porting.variant import OutputSpec, Variant


def watched_models(settings: DriftSettings | None, repository: Repository, device: Device) -> dict[str, Watched]:
    """Returns the watched models by name, none without settings. Raises `UserError` where a model cannot be watched."""
    if settings is None:
        return {}
    for model in settings.models:
        check_teacher(settings, repository, model, bool(teachers(settings)))
    return {model: watched(settings, repository, model, device) for model in settings.models}


def watched(settings: DriftSettings, repository: Repository, model: str, device: Device) -> Watched:
    """Builds the adaptation of one model. Raises `UserError` when it has no separate head or no usable reference."""
    variant = serving(repository, model)
    stages = repository.stages(variant, device.kind)
    output = variant.output
    if output is None or output.features is None or len(stages) != 2 or stages[0].input is None:
        raise UserError(
            f"drift.models: {model!r} has no head of its own; only a classifier that was cut can be repaired"
        )
    if not stages[0].is_onnx:
        raise UserError(f"drift.models: {model!r} is no ONNX file but {stages[0].kind!r}, which cannot be repaired")
    arrays = repository.reference(model)
    if arrays is None:
        raise UserError(f"drift.models: {model!r} has no reference; port it again with --samples")
    try:
        reference = Reference.of(arrays)
    except ValueError as error:
        raise UserError(f"drift.models: {model!r}: {error}; port it again with --samples") from None

    def load(graph: bytes) -> Engine:
        return load_model(device, onnx.load_model_from_string(graph))

    root = list(repository.lineage(variant))[-1]  # the reference is in terms of the variant that was ported
    first = ported(repository, root, reference, output)
    forward = BackboneRunner(load, stages[0].input, output.features, monotonic_ns)
    adaptation = AdaptationController(
        model, first, reference, settings, forward, monotonic_ns, scorer=Scorer.of(output)
    )
    if variant.name != root.name:
        adaptation.served(incumbent(repository, variant, first.head))
    return Watched(adaptation, output.labels, stages[0].input)


def check_teacher(settings: DriftSettings, repository: Repository, model: str, others_have_one: bool) -> None:
    """Raises `UserError` for a teacher that could never answer, or that is missing while other models have one."""
    teacher = settings.teacher_of(model)
    if teacher is None:
        if others_have_one:
            raise UserError(f"drift.teacher: names none for {model!r}; name one for each model, or none to ask people")
        return
    known, wanted = serving(repository, teacher).output, serving(repository, model).output
    if known is None or not isinstance(format_of(known), LabelFormat):
        raise UserError(f"drift.teacher: {teacher!r} is no classifier; it cannot label for {model!r}")
    if wanted is not None and (unknown := [label for label in wanted.labels if label not in known.labels]):
        raise UserError(f"drift.teacher: {teacher!r} does not know {unknown[0]!r}, a label of {model!r}")


def ported(repository: Repository, variant: Variant, reference: Reference, output: OutputSpec) -> DeployedModel:
    """Returns the variant that was ported, as drift sees it. Raises `UserError` when its head is not a linear layer."""
    backbone, head = repository.stages(variant, "")
    assert head.head is not None
    try:
        found = LinearHead.of(
            repository.arrays(head.head), reference.features, reference.answers, Scorer.of(output).format
        )
    except ValueError as error:
        raise UserError(f"drift.models: {variant.model!r}: {error}") from error
    return DeployedModel(variant.name, repository.blob_bytes(backbone.graph), found)


def step_models(settings: DriftSettings | None, step_ns: int) -> list[Served]:
    """Returns what the core must know of the background steps of each adaptation, which take `step_ns` at most."""
    return [step_served(model, step_ns) for model in (settings.models if settings else ())]


def background_answers(settings: DriftSettings | None) -> dict[str, Any]:
    """Returns teachers and repair steps as apps that the daemon alone requests."""
    if settings is None:
        return {}
    names = [*teachers(settings), *map(step_app, settings.models)]
    return {name: Single(name) for name in names}


def teachers(settings: DriftSettings | None) -> list[str]:
    """Returns the names of the teachers of all watched models, each once."""
    if settings is None:
        return []
    named = (settings.teacher_of(model) for model in settings.models)
    return list(dict.fromkeys(teacher for teacher in named if teacher is not None))
