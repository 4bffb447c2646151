"""Which share of each model's requests every variant should take, so that all are served and accuracy is highest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

TIE = 1e-6  # of equally accurate mixes the one that takes least time: worth this much accuracy for a lane's whole time
SHARE_MIN = 1e-3  # smaller shares are noise of the solver

Shares = dict[str, dict[str, float]]  # model -> variant -> share of its requests, adding up to 1


@dataclass(frozen=True, slots=True)
class Option:
    """`item_s`: how long the lane works for one request when this variant runs in good batches."""

    model: str
    variant: str
    lane: str
    item_s: float
    accuracy: float


def served_at_most(demands: Mapping[str, float], options: Sequence[Option]) -> float:
    """The largest factor by which all demands (requests a second, above 0) may grow and still be served by someone.

    0 where a model has no option at all.
    """
    if {option.model for option in options} != set(demands):
        return 0.0
    columns = len(options) + 1
    cost = np.zeros(columns)
    cost[-1] = -1.0
    shares, time = constraints(demands, options)
    all_served = np.hstack([shares, -np.ones((len(shares), 1))])
    time = np.hstack([time, np.zeros((len(time), 1))])
    found = linprog(cost, A_ub=time, b_ub=np.ones(len(time)), A_eq=all_served, b_eq=np.zeros(len(shares)))
    return 0.0 if found.x is None else float(found.x[-1])


def best_mix(demands: Mapping[str, float], options: Sequence[Option], factor: float) -> Shares:
    """The most accurate mix, weighted by demand, for `factor` times the demands; empty where none serves them all."""
    if {option.model for option in options} != set(demands):
        return {}
    total = sum(demands.values())
    gain = np.array([demands[option.model] / total * option.accuracy for option in options])
    spent = np.array([demands[option.model] * option.item_s for option in options])
    shares, time = constraints(demands, options)
    found = linprog(
        TIE * spent - gain, A_ub=factor * time, b_ub=np.ones(len(time)), A_eq=shares, b_eq=np.ones(len(shares))
    )
    return {} if found.x is None else by_model(options, found.x)


def constraints(
    demands: Mapping[str, float], options: Sequence[Option]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows that add up each model's shares; rows that add up each lane's time, as a part of all it has."""
    models, lanes = [*demands], sorted({option.lane for option in options})
    shares, time = np.zeros((len(models), len(options))), np.zeros((len(lanes), len(options)))
    for at, option in enumerate(options):
        shares[models.index(option.model), at] = 1.0
        time[lanes.index(option.lane), at] = demands[option.model] * option.item_s
    return shares, time


def by_model(options: Sequence[Option], taken: NDArray[np.float64]) -> Shares:
    """Summed over lanes, without what is too small, made to add up to 1."""
    found: Shares = {}
    for option, share in zip(options, taken, strict=True):
        variants = found.setdefault(option.model, {})
        variants[option.variant] = variants.get(option.variant, 0.0) + float(share)
    for model, variants in found.items():
        kept = {name: share for name, share in sorted(variants.items()) if share >= SHARE_MIN}
        found[model] = {name: round(share / sum(kept.values()), 6) for name, share in kept.items()}
    return found
