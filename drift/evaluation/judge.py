"""Judges whether a candidate is better than what serves. Paired, on frames that neither was made with; pure."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

Array = NDArray[Any]

LIKELY = 0.2  # the level that does for a rollback when the loss is wide: going back is cheap


@dataclass(frozen=True, slots=True)
class Rule:
    """Says what a promotion needs (docs/decisions/0007). Shares and accuracies 0..1.

    old_tolerance: loss on the old world that is always accepted; new_share: how much of the time to come is
    taken to look like the new world: a larger loss on old frames is accepted while new_share x (lower bound of the
    gain) outweighs (1 - new_share) x (loss on old), up to old_loss_max.
    """

    labels_min: int = 30
    confidence: float = 0.95
    old_tolerance: float = 0.02
    new_share: float = 0.8
    old_loss_max: float = 1.0
    collapse: float = 0.35  # how far one class's share of the answers may exceed its share of the labels


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Holds the scores of two models on the same held-out pictures.

    group: int64 [n], pictures of one group depend on each other; before, after: float64 [n], 0..1. finite: whether all
    signals of `after` are. excess: how far one label's share of its answers exceeds that of the truth, -1..1.
    """

    group: Array
    before: Array
    after: Array
    finite: bool = True
    excess: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Says whether to promote, with the numbers behind it.

    reason: the first rule that failed, or empty. Accuracies 0..1; new_gain_low: lower bound of the gain, -1..1.
    """

    promote: bool
    reason: str
    new_before: float
    new_after: float
    new_gain_low: float
    new_p: float
    new_labels: int
    old_before: float
    old_after: float
    old_labels: int

    def fields(self) -> dict[str, Any]:
        return {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(self).items()}


def judge(new: Paired, old: Paired, rule: Rule, seed: int = 0) -> Verdict:
    """Returns a verdict that promotes only what is finite, does not collapse, is surely better on new frames and loses
    little on old ones.
    """
    was, now, old_was, old_now = new.before, new.after, old.before, old.after
    low = gain_low(was, now, new.group, rule.confidence, seed)
    p = mcnemar(was, now)
    loss = _mean(old_was) - _mean(old_now)
    reason = _objection(new, old, rule, low, p, loss)
    return Verdict(
        not reason, reason, _mean(was), _mean(now), low, p, len(was), _mean(old_was), _mean(old_now), len(old_was)
    )


def _objection(new: Paired, old: Paired, rule: Rule, low: float, p: float, loss: float) -> str:
    if not (new.finite and old.finite):
        return "outputs are not finite"
    if len(new.after) < rule.labels_min:
        return f"only {len(new.after)} held-out labels of the new world, {rule.labels_min} needed"
    if new.excess > rule.collapse:
        return "one class takes over"
    if low <= 0 or p > 1 - rule.confidence:
        return "not surely better on new frames"
    outweighed = rule.new_share * low >= (1 - rule.new_share) * loss and loss <= rule.old_loss_max
    if loss > rule.old_tolerance and not outweighed:
        return "loses too much on old frames"
    return ""


def gain_low(was: Array, now: Array, group: Array, confidence: float, seed: int, draws: int = 1000) -> float:
    """Returns the lower bound of the gain in accuracy at this confidence, -1..1; -1 without pictures.

    A bootstrap over groups, since pictures of a group depend on each other. was, now: float64 [n]; group: int64 [n].
    """
    if not len(was):
        return -1.0
    names, place = np.unique(group, return_inverse=True)
    gain = np.bincount(place, weights=now - was)
    size = np.bincount(place).astype(float)
    picks = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    return float(np.quantile(gain[picks].sum(1) / size[picks].sum(1), 1 - confidence))


def mcnemar(was: Array, now: Array) -> float:
    """Returns the probability of so many better against worse answers if neither model were better: exact, one-sided.

    McNemar's test where scores are 0 or 1; the sign test for what lies between. 1 where no answer differs.
    """
    repaired, broken = int(np.sum(now > was)), int(np.sum(now < was))
    return float(bdtr(broken, repaired + broken, 0.5)) if repaired + broken else 1.0


def worse(new: Paired, confidence: float = 0.95, loss_max: float = 0.10) -> bool:
    """Returns whether what was promoted (`after`) is worse in probation than what it replaced (`before`).

    It is where the loss is sure at `confidence`, or likely and larger than `loss_max`, or where a signal is not finite.
    """
    if not new.finite:
        return True
    was, now = new.before, new.after
    p = mcnemar(now, was)
    return p <= 1 - confidence or (p <= LIKELY and _mean(was) - _mean(now) > loss_max)


def _mean(scores: Array) -> float:
    return float(scores.mean()) if len(scores) else 0.0
