"""Summarises a comparison: one row per system and load, over its seeds, with differences from
the baseline on the same seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from evaluation.metrics.bootstrap import Interval, mean_interval
from evaluation.metrics.outcome import RunOutcome
from evaluation.metrics.scores import Scores

COMPARED = ("goodput", "attainment", "attainment_min", "p99_ms", "accuracy", "right")  # paired with the baseline's
SHARED = ("load", "arrivals")  # facts of the scenarios of one row, whatever their seeds
Group = tuple[tuple[str, Any], ...]
DRAWS = 2_000  # of the bootstrap, for each number of each row
# Fields of `Scores` that hold one number, and `right`, which the outcome itself holds.
METRICS = (*(field.name for field in fields(Scores) if field.type in (int, float, float | None)), "right")


@dataclass(frozen=True)
class SummaryRow:
    """Holds the mean over seeds of every number in `Scores`; None where a seed has no such
    number (nothing was answered).
    """

    system: str
    facts: Mapping[str, Any]  # load, arrivals: what the scenarios of all seeds share
    seeds: tuple[int, ...]
    numbers: Mapping[str, Interval | None]
    by_seed: Mapping[str, tuple[float | None, ...]]
    attainment_of: Mapping[str, float]  # by model
    versus: Mapping[str, Interval]  # this less the baseline on the same requests, of COMPARED; empty for the baseline
    bound_method: str = ""  # how `bound` was found; several with commas where seeds differ

    def __getitem__(self, metric: str) -> float | None:
        found = self.numbers[metric]
        return found.mean if found else None


def rows(outcomes: Iterable[RunOutcome], baseline: str = "") -> list[SummaryRow]:
    """Returns the rows, grouped in the order of the scenarios, within a group by falling
    goodput. Failed runs are left out.
    """
    groups: dict[Group, dict[str, dict[int, RunOutcome]]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.index, outcome.system)):
        if outcome.scores is not None:
            of_system = groups.setdefault(group(outcome.facts), {}).setdefault(outcome.system, {})
            of_system[outcome.facts.get("seed", 0)] = outcome
    return [row for facts, found in groups.items() for row in ranked(facts, found, baseline)]


def group(facts: Mapping[str, Any]) -> Group:
    """Returns the facts that the scenarios of one row share."""
    return tuple((key, facts[key]) for key in SHARED if key in facts)


def ranked(facts: Group, found: Mapping[str, Mapping[int, RunOutcome]], baseline: str) -> list[SummaryRow]:
    """Returns the rows of one group by falling goodput."""
    made = [row(name, dict(facts), scores, found.get(baseline, {}), name == baseline) for name, scores in found.items()]
    return sorted(made, key=lambda row: (-(row["goodput"] or 0.0), row.system))


def row(
    name: str, facts: Mapping[str, Any], found: Mapping[int, RunOutcome], base: Mapping[int, RunOutcome], is_base: bool
) -> SummaryRow:
    """Returns the row of one system; without differences for the baseline itself."""
    seeds, scores = tuple(sorted(found)), [each.scores for each in found.values() if each.scores is not None]
    by_seed = {metric: tuple(number(found[seed], metric) for seed in seeds) for metric in METRICS}
    return SummaryRow(
        name,
        facts,
        seeds,
        {metric: interval(values) for metric, values in by_seed.items()},
        by_seed,
        attainments(scores),
        {} if is_base else differences(found, base),
        ", ".join(sorted({one.bound_method for one in scores})),
    )


def number(outcome: RunOutcome, metric: str) -> float | None:
    """Returns one number of an outcome."""
    value: float | None = outcome.right if metric == "right" else getattr(outcome.scores, metric)
    return value


def interval(values: Sequence[float | None]) -> Interval | None:
    """Returns the interval of the mean; None where a value is missing, since the remaining seeds
    would be the easier ones.
    """
    known = [value for value in values if value is not None]
    return mean_interval(known, draws=DRAWS) if known and len(known) == len(values) else None


def attainments(scores: Sequence[Scores]) -> dict[str, float]:
    """Returns the mean attainment of each model over the seeds."""
    models = sorted({model for one in scores for model in one.per_model})
    return {model: sum(one.per_model[model].attainment for one in scores) / len(scores) for model in models}


def differences(found: Mapping[int, RunOutcome], base: Mapping[int, RunOutcome]) -> dict[str, Interval]:
    """Returns the differences from the baseline over the seeds that both have."""
    seeds = sorted(set(found) & set(base))
    told = {metric: interval([less(found[seed], base[seed], metric) for seed in seeds]) for metric in COMPARED}
    return {metric: difference for metric, difference in told.items() if difference is not None}


def less(one: RunOutcome, other: RunOutcome, metric: str) -> float | None:
    """Returns one outcome's number minus the other's; None where either is missing."""
    a, b = number(one, metric), number(other, metric)
    return None if a is None or b is None else a - b


def kept_to_one(outcomes: Iterable[RunOutcome]) -> list[str]:
    """Returns the systems whose good answers came from one variant of each model, while another
    system's came from several.
    """
    used: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.scores is not None:
            used.setdefault(outcome.system, set()).update(outcome.scores.answered_by)
    several = {
        name for name, variants in used.items() if len({one.rsplit("/", 1)[0] for one in variants}) < len(variants)
    }
    return sorted(set(used) - several) if several else []
