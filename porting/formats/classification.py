"""Reads classifiers: one label for the whole picture, from logits [N, K]."""

from collections.abc import Mapping

import numpy as np

from porting.errors import UserError
from porting.formats.format import Array, DetectedObject, ModelGraph, Objects, PictureView, Signals
from porting.formats.labels import labels_for
from porting.formats.tensors import softmax
from porting.variant import OutputSpec


class Classification:
    """Reads logits [K]: the label with the largest softmax is the answer. Score: 1 for the right label, else 0."""

    name = "classification"
    shape = "[N, K]"

    def matches(self, graph: ModelGraph) -> float:
        """Returns 0.9 for [N, K] and [N, K, 1, 1]: embeddings have the same shape."""
        shape = graph.output_shape or ()
        return 0.9 if len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1)) else 0.0

    def settle(self, graph: ModelGraph, labels: tuple[str, ...] | None) -> OutputSpec:
        """Flattens [N, K, 1, 1]. Raises `UserError` for other shapes, and where labels and K do not fit."""
        shape = graph.output_shape
        if shape is None or len(shape) not in (2, 4):
            raise UserError(f"{graph.path}: a classifier gives [N, K], this output has {len(shape or ())} axes")
        if len(shape) == 4:
            graph.extend_output("Flatten", [shape[0] or "N", shape[1]])
            graph.repairs.append(f"output of 4 axes flattened to [N, {shape[1]}]")
        return OutputSpec(self.name, labels_for(graph, shape[1], labels), graph.output_name)

    def read(self, output: OutputSpec, tensors: Mapping[str, Array], picture: PictureView) -> list[DetectedObject]:
        """Returns one object: the likeliest label, as sure as its probability."""
        return self.read_signals(output, self.signals(output, tensors), picture)

    def read_signals(self, output: OutputSpec, signals: Signals, picture: PictureView) -> list[DetectedObject]:
        """Returns what `read` returns, from probabilities that are known: one softmax a picture is enough."""
        best = int(signals.answer.argmax())
        return [DetectedObject(picture.model, output.labels[best], float(signals.answer[best]))]

    def score(self, objects: Objects, truth: Objects) -> float:
        """Returns 1 where both name the same label, else 0."""
        return float([each.label for each in objects] == [each.label for each in truth])

    def signals(self, output: OutputSpec, tensors: Mapping[str, Array]) -> Signals:
        """Returns the probabilities [K], and the features [D] where the model was cut before its last layer."""
        features = tensors.get(output.features) if output.features else None
        return Signals(softmax(tensors[output.name]), features)

    # ---- what not every format can do: `LabelFormat`, `HeadFormat`

    def shares(self, output: OutputSpec, signals: Signals) -> dict[str, float]:
        """Returns the probabilities by label."""
        return dict(zip(output.labels, signals.answer.tolist(), strict=True))

    def truth(self, output: OutputSpec, label: int) -> list[DetectedObject]:
        """Returns the answer that says that label for certain."""
        return [DetectedObject("", output.labels[label], 1.0)]

    def probabilities(self, outputs: Array) -> Array:
        """Returns the softmax of logits [..., K], float32."""
        return softmax(outputs)

    def read_rows(self, output: OutputSpec, answers: Array, model: str = "") -> list[list[DetectedObject]]:
        """Returns the likeliest label of each row of probabilities [n, K]."""
        best = np.asarray(answers).argmax(axis=1)
        return [[DetectedObject(model, output.labels[k], float(row[k]))] for k, row in zip(best, answers, strict=True)]
