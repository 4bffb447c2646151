"""Only what is surely better serves."""

import numpy as np
import pytest

from drift.evaluation.judge import Paired, Rule, judge, mcnemar, worse
from drift.evaluation.paired_run import paired as scored
from drift.samples import Labelled
from porting.formats.scorer import Scorer


def paired(n=80, before=0.5, after=0.9, seed=0, classes=4, group=4, nan=False, collapse=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)

    def answers(accuracy):
        kinds = np.where(rng.random(n) < accuracy, labels, (labels + 1) % classes)
        return np.eye(classes, dtype=np.float32)[kinds]

    was, now = answers(before), answers(after)
    if collapse:
        now = np.tile(np.eye(classes, dtype=np.float32)[0], (n, 1))
    if nan:
        now[3] = np.nan
    pictures = Labelled([None] * n, labels, np.arange(n) // group)
    return scored(pictures, was, now, Scorer.of_labels(classes))


SAME_OLD = paired(150, 0.93, 0.93, seed=1)
WORSE_OLD = paired(150, 0.93, 0.70, seed=1)


@pytest.mark.parametrize(
    ("new", "old", "rule", "reason"),
    [
        (paired(), SAME_OLD, Rule(), ""),
        (paired(before=0.8, after=0.8), SAME_OLD, Rule(), "not surely better on new frames"),
        (paired(before=0.9, after=0.5), SAME_OLD, Rule(), "not surely better on new frames"),
        (paired(n=20), SAME_OLD, Rule(), "only 20 held-out labels"),
        (paired(nan=True), SAME_OLD, Rule(), "outputs are not finite"),
        (paired(before=0.1, collapse=True), SAME_OLD, Rule(), "one class takes over"),
        (paired(before=0.3), WORSE_OLD, Rule(), ""),  # the gain where we are outweighs the loss where we are not
        (paired(before=0.3), WORSE_OLD, Rule(new_share=0.2), "loses too much on old frames"),
        (paired(before=0.3), WORSE_OLD, Rule(old_loss_max=0.1), "loses too much on old frames"),
        (paired(before=0.75, after=0.9), paired(150, 0.95, 0.05), Rule(), "loses too much on old frames"),
    ],
)
def test_verdicts(new, old, rule, reason):
    verdict = judge(new, old, rule)
    assert verdict.reason.startswith(reason)
    assert verdict.promote == (reason == "")


def test_promotion_of_what_is_no_better_is_rare():
    promoted = [judge(paired(before=0.7, after=0.7, seed=i), SAME_OLD, Rule()).promote for i in range(200)]
    assert sum(promoted) <= 14  # 5 % would be 10


def test_mcnemar_is_exact():
    was, now = np.array([False] * 5 + [True] * 3), np.array([True] * 5 + [True] * 2 + [False])
    assert mcnemar(was, now) == pytest.approx(7 / 64)  # one or none broken of six changed: (1 + 6) / 2^6


def test_scores_between_right_and_wrong_are_compared_picture_by_picture():
    """A detector's F1: no picture is wholly right, but nearly every one is a little better."""
    rng = np.random.default_rng(0)
    was = rng.uniform(0.3, 0.6, 80)
    better, old = Paired(np.arange(80) // 4, was, was + 0.2), Paired(np.arange(80), was, was)
    assert judge(better, old, Rule()).promote
    assert judge(better, old, Rule()).new_after == pytest.approx(was.mean() + 0.2)
    assert not judge(Paired(np.arange(80) // 4, was, np.roll(was, 1)), old, Rule()).promote
    assert worse(Paired(np.arange(80), was + 0.2, was))


@pytest.mark.parametrize(
    ("before", "after", "share"), [(0.9, 0.5, (0.95, 1)), (0.5, 0.9, (0, 0)), (0.9, 0.9, (0, 0.12))]
)
def test_probation_sees_what_is_worse(before, after, share):
    seen = np.mean([worse(paired(40, before, after, seed)) for seed in range(200)])
    assert share[0] <= seen <= share[1]
