"""Class-prior re-weighting in a world whose right answer is known: Gaussians, and the head that Bayes would use."""

import numpy as np
import pytest

from drift.detection.monitor import Alarm
from drift.repair.deployed import DeployedModel, LinearHead
from drift.repair.prior_reweighting import PriorReweighting
from drift.repair.recall_variant import Recall
from drift.repair.response import Situation
from drift.samples import Labelled, Replay
from porting.formats.scorer import Scorer

CLASSES = 3
MEANS = 1.5 * np.eye(CLASSES)
OLD = np.full(CLASSES, 1 / CLASSES)
NEW = np.array([0.75, 0.2, 0.05])


def bayes(mix):
    """The head that tells unit Gaussians around MEANS apart where the classes come in this mix."""
    return LinearHead(MEANS.astype(np.float32), (np.log(mix) - (MEANS**2).sum(axis=1) / 2).astype(np.float32))


def features_of(mix, count=3000):
    rng = np.random.default_rng(7)
    labels = rng.choice(CLASSES, size=count, p=mix)
    return labels, MEANS[labels] + rng.normal(size=(count, CLASSES))


class Identity:
    """Pictures that are features already."""

    def features(self, graph, images):
        yield
        return np.asarray(images)


def situation(incumbent, mix, stored=()):
    labels, features = features_of(mix)
    labelled = Labelled(features, labels, np.arange(len(labels)))
    return Situation(
        incumbent=incumbent,
        alarm=Alarm("*", "prior", {}, 0, 0),
        fresh=features,
        fresh_probs=incumbent.head.answers(features),
        labelled=labelled,
        replay=Replay(labelled, features, b""),
        prior=OLD,
        forward=Identity(),
        scorer=Scorer.of_labels(len(OLD)),
        stored=stored,
    )


def repaired(incumbent, mix, response=None, stored=()):
    slices = (response or PriorReweighting()).repair(situation(incumbent, mix, stored))
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            return incumbent.changed("repaired", stop.value)


def test_the_new_mix_is_found():
    after = repaired(DeployedModel("fp32", b"", bayes(OLD)), NEW)
    assert after.prior == pytest.approx(NEW, abs=0.03)
    assert after.head.bias - bayes(NEW).bias == pytest.approx((after.head.bias - bayes(NEW).bias).mean(), abs=0.15)


@pytest.mark.parametrize("mix", [NEW, OLD, NEW[::-1]])
def test_a_second_repair_does_not_count_the_first_shift_again(mix):
    once = repaired(DeployedModel("fp32", b"", bayes(OLD)), NEW)
    twice = repaired(once, mix)
    assert twice.prior == pytest.approx(mix, abs=0.03)
    offset = twice.head.bias - bayes(mix).bias
    assert offset == pytest.approx(offset.mean(), abs=0.15)


def test_a_variant_that_is_recalled_brings_its_mix_along():
    first = DeployedModel("fp32", b"", bayes(OLD))
    moved = repaired(first, NEW)
    back = repaired(moved, OLD, Recall(), stored=[first])
    assert np.array_equal(back.head.bias, first.head.bias)
    assert back.prior == pytest.approx(OLD)
