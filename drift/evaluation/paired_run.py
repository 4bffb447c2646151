"""Runs two variants on the same held-out pictures, in slices; the judging is elsewhere and pure."""

from collections.abc import Generator

import numpy as np

from drift.evaluation.judge import Paired
from drift.repair.deployed import DeployedModel
from drift.repair.inference import BackboneRunner
from drift.samples import Labelled


def trial(
    before: DeployedModel, after: DeployedModel, parts: tuple[Labelled, ...], forward: BackboneRunner
) -> Generator[None, None, tuple[Paired, ...]]:
    """One `Paired` for each part. A backbone that both share runs once."""
    images = [image for part in parts for image in part.images]
    features = yield from forward.features(before.graph, images)
    probs_before = before.head.probs(features)
    if after.graph != before.graph:
        features = yield from forward.features(after.graph, images)
    probs_after = after.head.probs(features)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    pairs = zip(parts, np.split(probs_before, ends), np.split(probs_after, ends), strict=True)
    return tuple(Paired(part.labels, part.group, was, now) for part, was, now in pairs)
