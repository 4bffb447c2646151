"""Computes what no system can exceed on a scenario: quickly for every comparison, or more closely at some cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evaluation.bounds.goodput import fairest_bound, goodput_bound, weighted_bound
from evaluation.bounds.lagrangian import applies, lagrangian_bound
from evaluation.scenario import Scenario

QUICK = "quick"
PREEMPTIVE, LAGRANGIAN = "preemptive relaxation", "Lagrangian"  # as tables name them


@dataclass(frozen=True)
class ScenarioBounds:
    """Holds what no system can exceed on one scenario; None: not asked for, or no variant says how accurate it is."""

    good: float | None = None  # requests answered in time
    accuracy: float | None = None  # sum of the accuracies of their answers
    attainment_min: float | None = None  # share of its requests that the model served worst gets, 0..1
    method: str = ""  # of `good`


def quick(scenario: Scenario) -> ScenarioBounds:
    """Returns the preemptive relaxation: a tenth of a second for 12,000 requests."""
    return ScenarioBounds(goodput_bound(scenario), accuracy(scenario), method=PREEMPTIVE)


def close(scenario: Scenario) -> ScenarioBounds:
    """Returns the Lagrangian bound where it applies, else the preemptive relaxation; and how fair a schedule can be.

    Takes half a minute for 12,000 requests where the Lagrangian bound applies, else some seconds.
    """
    method = LAGRANGIAN if applies(scenario) else PREEMPTIVE
    return ScenarioBounds(lagrangian_bound(scenario), accuracy(scenario), fairest_bound(scenario), method)


def accuracy(scenario: Scenario) -> float | None:
    """Returns the bound on the sum of the answers' accuracies; None where no variant says how accurate it is."""
    variants = [variant for served in scenario.served for variant in (served.variant, *served.others)]
    return weighted_bound(scenario) if any(variant.accuracy is not None for variant in variants) else None


BOUNDS: Mapping[str, Callable[[Scenario], ScenarioBounds]] = {QUICK: quick, "close": close}
