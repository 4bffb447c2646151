"""Computes the shares of variants that serve all requests with the highest accuracy, by linear programming."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

TIE = 1e-6  # accuracy that a lane's whole time is worth: breaks ties between mixes in favour of the quicker one
SHARE_MIN = 1e-3  # smaller shares are noise of the solver

Shares = dict[str, dict[str, float]]  # model -> variant -> share of its requests, adding up to 1


@dataclass(frozen=True, slots=True)
class Option:
    """Describes one variant on one lane.

    `item_s`: seconds of the lane per request, in the batches that are planned.
    `accuracy`: 0..1.
    """

    model: str
    variant: str
    lane: str
    item_s: float
    accuracy: float


def served_at_most(demands: Mapping[str, float], options: Sequence[Option]) -> float:
    """Returns the largest factor by which all demands may grow and still be served; 0 if a model has no option.

    `demands`: model -> requests per second, above 0.
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
    """Returns the most accurate mix, weighted by demand, for `factor` times the demands; empty if there is none."""
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
    """Returns two matrices with a column per option: rows that sum each model's shares, and each lane's time.

    Time is a part of all the time that a lane has. Shapes: (models, options) and (lanes, options).
    """
    models, lanes = [*demands], sorted({option.lane for option in options})
    shares, time = np.zeros((len(models), len(options))), np.zeros((len(lanes), len(options)))
    for at, option in enumerate(options):
        shares[models.index(option.model), at] = 1.0
        time[lanes.index(option.lane), at] = demands[option.model] * option.item_s
    return shares, time


def by_model(options: Sequence[Option], taken: NDArray[np.float64]) -> Shares:
    """Returns the shares summed over lanes, without those that are too small, scaled to sum to 1."""
    found: Shares = {}
    for option, share in zip(options, taken, strict=True):
        variants = found.setdefault(option.model, {})
        variants[option.variant] = variants.get(option.variant, 0.0) + float(share)
    for model, variants in found.items():
        kept = {name: share for name, share in sorted(variants.items()) if share >= SHARE_MIN}
        found[model] = {name: round(share / sum(kept.values()), 6) for name, share in kept.items()}
    return found
