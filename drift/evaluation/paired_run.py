"""Runs two variants on the same held-out pictures, in slices; the judging is elsewhere and pure."""

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.evaluation.judge import Paired
from drift.repair.deployed import DeployedModel
from drift.repair.inference import BackboneRunner
from drift.samples import Labelled
from porting.formats.scorer import Scorer

Array = NDArray[Any]


def trial(
    before: DeployedModel,
    after: DeployedModel,
    parts: tuple[Labelled, ...],
    forward: BackboneRunner,
    scorer: Scorer,
) -> Generator[None, None, tuple[Paired, ...]]:
    """Returns one `Paired` for each part, in slices; a backbone that both variants share runs once."""
    images = [image for part in parts for image in part.images]
    features = yield from forward.features(before.graph, images)
    was = before.head.answers(features)
    if after.graph != before.graph:
        features = yield from forward.features(after.graph, images)
    now = after.head.answers(features)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    pairs = zip(parts, np.split(was, ends), np.split(now, ends), strict=True)
    return tuple(paired(part, was, now, scorer) for part, was, now in pairs)


def paired(part: Labelled, was: Array, now: Array, scorer: Scorer) -> Paired:
    """Scores the answers [n, K] of two models to the same pictures."""
    said = scorer.read(now)
    return Paired(
        part.group,
        scorer.of_answers(was, part.labels),
        scorer.scores(said, part.labels),
        bool(np.isfinite(now).all()),
        scorer.excess(said, part.labels),
    )
