"""Ports an ONNX file to a served variant: take in, cut, compare, measure, judge, store, serve."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from devices.interface import Array, Device, DeviceError, Engine
from porting.artefacts import compiled, load_artefact
from porting.checks.chain import BATCH, Chain, ChainOutputs
from porting.checks.equivalence import TOLERANCE, difference, load_model, rejected
from porting.checks.gates import Gates
from porting.checks.profiler import Timing, measure, random_inputs, resident_bytes, table_of
from porting.checks.report import AccuracyReport, Report, StageReport
from porting.errors import UserError
from porting.formats.format import Format, HeadFormat
from porting.formats.registry import format_for, format_named
from porting.formats.scorer import Scorer
from porting.graph.imported_model import ImportedModel
from porting.graph.passes import Pass, transform
from porting.graph.split_head import FEATURES, SplitModel, normalisations, split, strip_softmax
from porting.images import prepare
from porting.intake import infer_spec
from porting.intake.normalise import take_in
from porting.publish import Piece, add_numbered, derive, save_reference, store_pieces
from porting.repository.repository import Repository
from porting.samples import Samples
from porting.variant import InputSpec, OutputSpec, Variant

__all__ = ["BATCHES", "Gates", "derive", "port"]

BATCHES = (1, 2, 4, 8)
COMPARED_MAX = 32  # samples that the cut is compared on
TRIED_MAX = 200  # samples that an unknown input scaling is tried on
Progress = Callable[[str, float], None]  # what is being done, share of that step 0..1


@dataclass(frozen=True, slots=True)
class Cut:
    """Holds a model as it will be stored: backbone and head, or one stage.

    stripped: the operator of the softmax that was taken off its end; `None`: there was none.
    """

    parts: SplitModel
    stripped: str | None  # the softmax that was taken off


def port(
    path: Path | str,
    model: str,
    repository: Repository,
    device: Device,
    *,
    input: Mapping[str, Any] | InputSpec | None = None,
    output: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    samples: Samples | tuple[Any, ...] | None = None,
    kind: str | None = None,
    cut: str | bool = "auto",
    variant: str = "fp32",
    batches: Sequence[int] = BATCHES,
    passes: Sequence[Pass] = (),
    gates: Gates | None = None,
    serve: bool = True,
    budget_ns: int = 500_000_000,
    progress: Progress = lambda step, share: None,
) -> Report:
    """Ports one model to one device; returns the report on it.

    Args:
        path: ONNX file.
        model: name in the repository.
        repository: takes the stages, the variant, its profile and the drift reference.
        device: compiles the stages and runs the measurements.
        input: fields of `InputSpec` that the user knows (width, height, layout, color, scale, mean, std); the rest is
            read off the model, the scaling is tried out on the samples.
        output: fields of `OutputSpec` for detectors: score_min, overlap_max.
        labels: in the model's order; `None`: those in the file, else the samples' classes, else "0", "1", …
        samples: labelled pictures (images, labels, block[, stream[, names]]): for accuracy, gates, the drift reference.
        kind: name of the output's format, or its import path; `None`: the format that is most certain of it.
        cut: "auto" or True: a classifier's head becomes a stage of its own, its weights inputs; False: one stage.
        variant: its name; a number is added when another one has it.
        batches: sizes to measure where the graph takes any.
        passes: transformations, applied in this order before the cut; each is compared with its parent.
        gates: what the port has to pass before it may serve; `None`: the usual ones.
        serve: let it serve when all gates say yes.
        budget_ns: measuring time per stage and batch size.
        progress: called with the name of a step and its share, 0..1.

    Raises:
        UserError: one line that says why the model cannot be ported. Gates that say no are in the report.
    """
    path, given = Path(path), _given(input)
    with _slips(path), ExitStack() as opened:
        progress("taking the model in", 0.0)
        taken = take_in(path, device, _size(given))
        transform(taken, passes, device)
        format = format_named(kind) if kind else format_for(taken)
        labelled = _labelled(samples, format, taken)
        wanted = labels or infer_spec.labels_in(taken.model) or _names(labelled)
        answer = replace(format.settle(taken, tuple(wanted) if wanted else None), kind=kind or format.name)
        labelled = None if labelled is None else labelled.relabelled(answer.labels)
        whole = _copy(taken.model)
        found = _cut(taken, format, cut is not False)
        answer = replace(answer, **dict(output or {}), name=found.parts.output, features=_features(found.parts))

        original = opened.enter_context(Chain([(load_model(device, whole), {})]))
        pieces = [
            opened.enter_context(piece) for piece in _loaded(found.parts, device, taken.batches or tuple(batches))
        ]
        ported = Chain([(piece.engine, piece.arrays) for piece in pieces])
        spec = _input(taken, given, original, labelled, answer)
        report = Report(model, variant, str(path), answer.kind, device.name, answer.labels, asdict(spec))
        report.difference = _compare(taken, original, ported, found, spec, labelled, format)
        sizes = taken.batches or tuple(batches)
        _measure(report, pieces, sizes, budget_ns, progress)
        answers = _judge(report, original, ported, taken, labelled, spec, answer, progress)

        progress("storing", 0.0)
        stages = store_pieces(repository, pieces, spec, sizes)
        for piece, stage in zip(report.stages, stages, strict=True):
            piece.digest, piece.graph, piece.size_bytes = stage.digest, stage.graph, stage.memory_bytes
        report.repairs, report.notes = taken.repairs, taken.notes
        made = Variant(model, variant, tuple(stage.digest for stage in stages), answer, made_by=_made_by(report))
        made = replace(made, accuracy=None if report.accuracy is None else report.accuracy.top1)
        report.variant = add_numbered(repository, made, stages)
        repository.add_profile(model, report.variant, device.kind, _profile(report))
        if answers is not None and labelled is not None:
            save_reference(repository, model, labelled, answers, spec, answer)
        report.gates = (gates or Gates()).refusals(report)
        if serve and not report.gates:
            repository.serve(model, report.variant, {"by": "port", "source": path.name})
            report.served = True
        progress("storing", 1.0)
        return report


@contextmanager
def _slips(path: Path) -> Iterator[None]:
    """Turns a device's failure while a model is ported into one line for the user."""
    try:
        yield
    except UserError:
        raise
    except DeviceError as error:
        raise UserError(f"{path}: {error}") from None


def _given(input: Mapping[str, Any] | InputSpec | None) -> dict[str, Any]:
    given = {} if input is None else asdict(input) if isinstance(input, InputSpec) else dict(input)
    given = {key: value for key, value in given.items() if value is not None and key not in ("name", "dtype")}
    infer_spec.check_given(given)
    return given


def _size(given: Mapping[str, Any]) -> tuple[int, int] | None:
    return (given["width"], given["height"]) if "width" in given and "height" in given else None


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _features(parts: SplitModel) -> str | None:
    return FEATURES if parts.head is not None else None


def _cut(taken: ImportedModel, format: Format, cut: bool) -> Cut:
    if not isinstance(format, HeadFormat):
        return Cut(SplitModel(taken.model, note="one stage"), None)
    stripped = strip_softmax(taken.model)
    if stripped:
        taken.notes.append(f"{stripped} taken off the end: the stored model gives logits")
    parts = split(taken.model, cut)
    if parts.note:
        taken.notes.append(parts.note)
    if parts.head is not None and not normalisations(parts.backbone):
        taken.notes.append("no batch normalisation left in the graph: its statistics cannot be re-aligned after drift")
    return Cut(parts, stripped)


def _loaded(parts: SplitModel, device: Device, sizes: Sequence[int]) -> Iterator[Piece]:
    rows: list[tuple[str, onnx.ModelProto, dict[str, Array]]] = []
    rows.append(("whole" if parts.head is None else "backbone", parts.backbone, {}))
    if parts.head is not None:
        rows.append(("head", parts.head, dict(parts.arrays or {})))
    for name, graph, arrays in rows:
        artefact = compiled(device, graph.SerializeToString(deterministic=True), tuple(sizes))
        before = resident_bytes()
        engine: Engine = load_artefact(device, artefact)
        engine.run(random_inputs(engine, arrays)(max(sizes)))  # buffers are grown now, as they will be when it serves
        yield Piece(name, artefact, arrays, engine, resident_bytes() - before)


def _labelled(samples: Samples | tuple[Any, ...] | None, format: Format, taken: ImportedModel) -> Samples | None:
    if samples is None:
        return None
    if not isinstance(format, HeadFormat):
        taken.notes.append(f"samples are not used: they have a label each, which is no truth for {format.name}")
        return None
    return Samples(*samples)


def _names(samples: Samples | None) -> tuple[str, ...] | None:
    return None if samples is None else samples.names


def _input(
    taken: ImportedModel, given: Mapping[str, Any], original: Chain, samples: Samples | None, answer: OutputSpec
) -> InputSpec:
    spec = infer_spec.input_spec(taken, given)
    if spec.dtype == "uint8" or {"scale", "mean", "std"} & set(given):
        return spec
    if samples is None:
        taken.notes.append(
            "input scaling was not given: x / 255 is assumed; say --scale, --mean, --std, or give samples"
        )
        return spec
    few = samples.thinned(TRIED_MAX)

    def accuracy(candidate: InputSpec) -> float:
        logits = original.classify(few.images, candidate, taken.output.name, batch=_rows(taken)).logits
        return float(_scores(answer, logits, few).mean())

    spec, note = infer_spec.best_scaling(spec, accuracy, margin=len(few.labels) ** -0.5)  # two standard errors
    taken.notes.append(note)
    return spec


def _rows(taken: ImportedModel) -> int:
    return taken.batches[0] if taken.batches else BATCH


def _compare(
    taken: ImportedModel,
    original: Chain,
    ported: Chain,
    found: Cut,
    spec: InputSpec,
    samples: Samples | None,
    format: Format,
) -> float:
    """Compares the stored model's answers with the file's, on real samples where there are some."""
    worst = 0.0
    for rows in _compared(taken, spec, samples):
        (parent,) = original.run({spec.name: rows}).values()
        child = ported.run({spec.name: rows})[found.parts.output]
        if found.stripped and isinstance(format, HeadFormat):
            parent = np.exp(parent) if found.stripped == "LogSoftmax" else parent
            child = format.probabilities(child)
        apart = difference(parent, child)
        if apart.worst > TOLERANCE:
            raise rejected(f"{taken.path}: cutting the model", apart, TOLERANCE)
        worst = max(worst, apart.worst)
    return worst


def _compared(taken: ImportedModel, spec: InputSpec, samples: Samples | None) -> Iterator[Array]:
    step = min(_rows(taken), COMPARED_MAX)
    if samples is None:
        yield from (taken.sample(step, seed)[spec.name] for seed in range(2))
        return
    images = samples.thinned(COMPARED_MAX).images
    for start in range(0, len(images), step):
        yield np.stack([prepare(image, spec) for image in images[start : start + step]])


def _measure(report: Report, pieces: Sequence[Piece], sizes: Sequence[int], budget_ns: int, progress: Progress) -> None:
    for piece in pieces:
        step = f"measuring the {piece.name}"
        timings: Mapping[int, Timing] = measure(
            piece.engine,
            random_inputs(piece.engine, piece.arrays),
            sizes,
            budget_ns=budget_ns,
            progress=lambda share, step=step: progress(step, share),  # type: ignore[misc]
        )
        memory = max(piece.memory_grown, piece.size_bytes)
        report.stages.append(StageReport(piece.name, "", "", piece.size_bytes, memory, timings))


def _judge(
    report: Report,
    original: Chain,
    ported: Chain,
    taken: ImportedModel,
    samples: Samples | None,
    spec: InputSpec,
    answer: OutputSpec,
    progress: Progress,
) -> ChainOutputs | None:
    if samples is None:
        return None
    step, batch = "measuring accuracy", _rows(taken)
    answers = ported.classify(
        samples.images,
        spec,
        answer.name,
        answer.features,
        batch=batch,
        progress=lambda share: progress(step, share / 2),
    )
    before = original.classify(
        samples.images, spec, taken.output.name, batch=batch, progress=lambda share: progress(step, 0.5 + share / 2)
    )
    right = _scores(answer, answers.logits, samples)
    by_label = {
        label: float(right[samples.labels == k].mean())
        for k, label in enumerate(answer.labels)
        if (samples.labels == k).any()
    }
    original_right = float(_scores(answer, before.logits, samples).mean())
    report.accuracy = AccuracyReport(float(right.mean()), original_right, len(right), by_label)
    return answers


def _scores(answer: OutputSpec, outputs: Array, samples: Samples) -> Array:
    """Returns the score of each sample, float64 [n], 0..1."""
    scorer = Scorer.of(answer)
    return scorer.of_answers(scorer.format.probabilities(outputs), samples.labels)


def _made_by(report: Report) -> dict[str, Any]:
    return {
        "by": "port",
        "source": Path(report.source).name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "repairs": report.repairs,
        "notes": report.notes,
        "difference": report.difference,
        "accuracy": None if report.accuracy is None else asdict(report.accuracy),
    }


def _profile(report: Report) -> dict[str, Any]:
    return table_of(report.device, {stage.graph: (stage.timings, stage.memory_bytes) for stage in report.stages})
