"""What every response promises: works in slices, touches nothing that serves, and gives a candidate that can serve."""

import inspect
import pkgutil
from importlib import import_module

import numpy as np
import pytest

import drift.repair
from benchmarks.drift_world import backbone, draw, forward, night
from drift.commands import RepairCandidate
from drift.detection.monitor import Alarm
from drift.repair.deployed import DeployedModel, LinearHead
from drift.repair.response import Situation
from drift.samples import Labelled, Replay
from porting.formats.scorer import Scorer

CLASSES = 5


def every_response():
    for info in pkgutil.iter_modules(drift.repair.__path__, "drift.repair."):
        module = import_module(info.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == info.name and hasattr(kind, "repair") and not getattr(kind, "_is_protocol", False):
                yield kind


def situation(rows=40, kind="covariate"):
    rng = np.random.default_rng(3)
    graph = backbone(widths=(4, 6))
    labels = rng.integers(0, CLASSES, rows)
    images = np.stack([draw(int(k), 0.0, 3.0, rng, night) for k in labels])
    width = 6 * 3 * 3
    head = LinearHead(rng.normal(0, 0.1, (CLASSES, width)).astype(np.float32), np.zeros(CLASSES, np.float32))
    other = LinearHead(rng.normal(0, 0.1, (CLASSES, width)).astype(np.float32), np.ones(CLASSES, np.float32))
    labelled = Labelled(images, labels, np.arange(rows) // 4)
    return Situation(
        incumbent=DeployedModel("fp32", graph, head),
        alarm=Alarm("*", kind, {}, 0, 0),
        fresh=images,
        fresh_probs=rng.dirichlet(np.ones(CLASSES), rows).astype(np.float32),
        labelled=labelled,
        replay=Replay(labelled, rng.normal(0, 1, (rows, width)).astype(np.float32), graph),
        prior=np.full(CLASSES, 1 / CLASSES),
        forward=forward(),
        scorer=Scorer.of_labels(CLASSES),
        stored=[DeployedModel("older", graph, other)],
    )


def run(response, given):
    slices, steps = response.repair(given), 0
    while True:
        try:
            next(slices)
            steps += 1
        except StopIteration as stop:
            return stop.value, steps


responses = pytest.mark.parametrize("make", list(every_response()), ids=lambda kind: kind.__name__)


@responses
def test_candidate_can_serve_and_nothing_that_serves_is_touched(make):
    given = situation(kind="prior" if make.name == "prior" else "covariate")
    weight, graph = given.incumbent.head.weight.copy(), given.incumbent.graph
    response = make()
    assert response.applies(given) == ""
    candidate, steps = run(response, given)
    assert steps >= 1, "work without a pause keeps the frames waiting"
    assert (given.incumbent.head.weight == weight).all()
    assert given.incumbent.graph == graph
    if candidate is not None:
        assert isinstance(candidate, RepairCandidate)
        after = given.incumbent.changed("next", candidate)
        features, _ = run(Through(after.graph), given)
        probs = after.head.answers(features)
        assert np.isfinite(probs).all()
        assert probs.shape == (len(given.fresh), CLASSES)


@responses
def test_same_seed_same_candidate(make):
    given = situation(kind="prior" if make.name == "prior" else "covariate")
    (one, _), (two, _) = run(make(), given), run(make(), given)
    assert (one is None) == (two is None)
    if one is not None:
        assert one.graph == two.graph
        assert all((one.head[name] == two.head[name]).all() for name in one.head or {})


class Through:
    """Runs a graph over the fresh pictures, shaped like a response."""

    def __init__(self, graph):
        self.graph = graph

    def repair(self, given):
        return (yield from given.forward.features(self.graph, given.fresh))
