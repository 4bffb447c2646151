"""Turns output tensors into results: probabilities of a classifier, boxes of a detector."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from porting.variant import OutputSpec

Array = NDArray[Any]

CANDIDATES_MAX = 300  # boxes that enter the suppression, best first: its cost is quadratic
BOXES_MAX = 100


class Box(NamedTuple):
    """Holds one object found. Corners (x1, y1, x2, y2) in pixels of the model's input, x1 <= x2, y1 <= y2."""

    label: str
    score: float  # 0..1
    corners: tuple[float, float, float, float]


def softmax(logits: Array, axis: int = -1) -> Array:
    """Computes probabilities, float32, along `axis`; they sum to 1, and no logit overflows them."""
    shifted = np.asarray(logits, np.float32)
    exponents = np.exp(shifted - shifted.max(axis=axis, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=axis, keepdims=True))


def boxes(output: Array, spec: OutputSpec, *, boxes_max: int = BOXES_MAX) -> list[Box]:
    """Returns one picture's detections, best first.

    Args:
        output: float [4 + K, M]: per column cx, cy, w, h in input pixels, then K scores 0..1 (the layout of YOLOv8).
        spec: labels (K of them), score_min, overlap_max.
        boxes_max: how many at most.

    No two boxes of one label overlap by more than `spec.overlap_max` (intersection over union).
    """
    assert output.ndim == 2, f"one picture's output [4 + K, M] expected, got {output.shape}"
    assert output.shape[0] == 4 + len(spec.labels), f"{output.shape[0]} rows, {len(spec.labels)} labels"
    scores = output[4:]
    kinds = scores.argmax(axis=0)
    best = scores[kinds, np.arange(scores.shape[1])]
    keep = np.flatnonzero(best >= spec.score_min)
    keep = keep[np.argsort(-best[keep], kind="stable")][:CANDIDATES_MAX]
    corners = corners_of(output[:4, keep])
    chosen = suppress(corners, kinds[keep], spec.overlap_max, boxes_max)
    return [
        Box(spec.labels[kinds[keep[i]]], float(best[keep[i]]), tuple(float(v) for v in corners[i]))  # type: ignore[arg-type]
        for i in chosen
    ]


def corners_of(centers: Array) -> Array:
    """Turns boxes [4, M] of cx, cy, w, h into [M, 4] of x1, y1, x2, y2; a negative size counts as none."""
    half = np.maximum(centers[2:4], 0) / 2
    return np.concatenate([centers[:2] - half, centers[:2] + half]).T


def suppress(corners: Array, kinds: Array, overlap_max: float, boxes_max: int = BOXES_MAX) -> list[int]:
    """Returns which boxes [M, 4] stay after non-maximum suppression within each kind [M]: indices, best first.

    The boxes come best first; one goes where it overlaps one of its kind that stays by more than `overlap_max`, 0..1.
    """
    covers = (overlap(corners, corners) > overlap_max) & (kinds[:, None] == kinds[None, :])
    alive = np.ones(len(corners), dtype=bool)
    chosen: list[int] = []
    for i in range(len(corners)):
        if alive[i]:
            chosen.append(i)
            alive[covers[i]] = False
            if len(chosen) == boxes_max:
                break
    return chosen


def overlap(a: Array, b: Array) -> Array:
    """Computes intersection over union of boxes [N, 4] with boxes [M, 4]: [N, M], 0..1; 0 for two empty boxes."""
    wide = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    tall = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    shared = np.maximum(wide, 0) * np.maximum(tall, 0)
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    union = area_a[:, None] + area_b[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-12))
