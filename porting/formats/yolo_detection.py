"""Reads detectors of YOLOv8's layout: a column [cx, cy, w, h, K scores] for each of M candidate boxes."""

from collections.abc import Mapping

import numpy as np

from porting.errors import UserError
from porting.formats.format import Array, DetectedObject, ModelGraph, Objects, PictureView, Signals
from porting.formats.labels import labels_for
from porting.formats.tensors import boxes, overlap
from porting.variant import OutputSpec

MATCH_OVERLAP = 0.5  # intersection over union from which a box has found an object (Pascal VOC, IJCV 2010)


class YoloDetection:
    """Reads [4 + K, M]: boxes in pixels of the input, scores 0..1; non-maximum suppression is done here.

    Score: F1 of one picture, a box counting as right at an IoU of 0.5 with an object of its label.
    """

    name = "detection"
    shape = "[N, 4 + K, M]"

    def matches(self, graph: ModelGraph) -> float:
        """Returns 0.9 for [N, rows, M] where a side has room for a box and a score, else 0."""
        shape = graph.output_shape or ()
        return 0.9 if len(shape) == 3 and any(size is None or size > 4 for size in shape[1:]) else 0.0

    def settle(self, graph: ModelGraph, labels: tuple[str, ...] | None) -> OutputSpec:
        """Transposes [N, M, 4 + K]. Raises `UserError` for other ranks, and where labels and K do not fit."""
        shape = graph.output_shape
        if shape is None or len(shape) != 3:
            raise UserError(f"{graph.path}: a detector gives [N, 4 + K, M], this output has {len(shape or ())} axes")
        batch, rows, columns = shape
        if _lies_on_its_side(rows, columns, labels):
            graph.extend_output("Transpose", [batch or "N", columns, rows], perm=[0, 2, 1])
            graph.repairs.append(f"output [N, {rows}, {columns}] transposed to [N, {columns}, {rows}]")
            rows = columns
        count = None if rows is None else rows - 4
        return OutputSpec(self.name, labels_for(graph, count, labels), graph.output_name)

    def read(self, output: OutputSpec, tensors: Mapping[str, Array], picture: PictureView) -> list[DetectedObject]:
        """Returns the boxes kind by kind, in the order of the labels, the surest first within a kind."""
        found = [
            DetectedObject(label, label, score, picture.inside(corners))
            for label, score, corners in boxes(tensors[output.name], output)
        ]
        return sorted(found, key=lambda thing: output.labels.index(thing.kind))

    def score(self, objects: Objects, truth: Objects) -> float:
        """Returns F1 = 2 right / (found + true); 1 for an empty picture in which nothing was found.

        Each box, the surest first, takes the object of its label that it overlaps most and that is still free.
        """
        if not objects and not truth:
            return 1.0
        return 2 * _matched(objects, truth) / (len(objects) + len(truth))

    def signals(self, output: OutputSpec, tensors: Mapping[str, Array]) -> Signals:
        """Returns the best score of each label, float32 [K]: 0 where there are no candidates."""
        best = np.max(tensors[output.name][4:], axis=1, initial=0.0)
        return Signals(np.asarray(best, np.float32), tensors.get(output.features) if output.features else None)

    def kinds(self, output: OutputSpec) -> tuple[str, ...]:
        """Returns the labels: a `BoxFormat`."""
        return output.labels


def _lies_on_its_side(rows: int | None, columns: int | None, labels: tuple[str, ...] | None) -> bool:
    if labels:
        return columns == 4 + len(labels) and rows != columns
    return rows is not None and columns is not None and rows > columns  # boxes by the hundred, labels by the dozen


def _matched(objects: Objects, truth: Objects) -> int:
    free = [thing for thing in truth if thing.box is not None]
    right = 0
    for thing in sorted(objects, key=lambda each: -each.score):
        shared = [_overlap(thing, other) if other.label == thing.label else 0.0 for other in free]
        if shared and max(shared) >= MATCH_OVERLAP:
            del free[int(np.argmax(shared))]
            right += 1
    return right


def _overlap(a: DetectedObject, b: DetectedObject) -> float:
    return 0.0 if a.box is None or b.box is None else float(overlap(np.array([a.box]), np.array([b.box]))[0, 0])
