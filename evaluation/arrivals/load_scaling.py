"""Computes how much a workload asks of a box, and scales the workload to ask for more or less."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edge.core.events import Served, Time
from edge.estimators.table import interpolate, monotone
from evaluation.arrivals.request import Arrival, by_time, stream_rng
from porting.errors import UserError

Rule = Literal["half", "alone", "best"]
How = Literal["copies", "compress", "thin"]
Items = Mapping[str, Mapping[str, float]]  # app -> model -> how often a request asks for it, in the mean


@dataclass(frozen=True)
class Cost:
    """Holds a served model's device time by batch size: all stages of its chain, one after the other."""

    durations_ns: Mapping[int, int]  # for every batch up to the largest that all stages take

    def item_ns(self, slo_ns: Time | None, rule: Rule = "half", margin: float = 1.06) -> float:
        """Returns the device time of one item in ns, in the batch that the rule chooses.

        "half": the largest batch that takes at most half the deadline, so that the other half is left for waiting until
        the batch before is done; where even one item takes longer, a batch of one. "alone": batches of one. "best": the
        batch that is cheapest per item, whatever the deadline. `margin` multiplies the profile.
        """
        costs = {batch: margin * took_ns for batch, took_ns in self.durations_ns.items()}
        if rule == "best" or (rule == "half" and slo_ns is None):
            return min(took_ns / batch for batch, took_ns in costs.items())
        fitting = [batch for batch, took_ns in costs.items() if rule == "half" and 2 * took_ns <= (slo_ns or 0)]
        batch = max(fitting, default=min(costs))
        return costs[batch] / batch


def cost_of(served: Served) -> Cost:
    """Returns the cost of the variant that serves. Raises `UserError` where a stage has no durations."""
    stages = {stage.digest: stage for stage in served.stages}
    chain = [stages[digest] for digest in served.variant.stages]
    if bare := next((stage for stage in chain if not stage.durations_ns), None):
        raise UserError(f"{served.variant.model}: no durations of {bare.graph[:12]} on this device; profile it first")
    curves = [monotone(stage.durations_ns) for stage in chain]
    batches = sorted(set.intersection(*(set(stage.batches) for stage in chain)) or {1})
    return Cost({batch: sum(interpolate(curve, batch) for curve in curves) for batch in batches})


def load_of(
    arrivals: Sequence[Arrival],
    served: Iterable[Served],
    rule: Rule = "half",
    margin: float = 1.06,
    duration_ns: Time | None = None,
    items: Items | None = None,
) -> float:
    """Returns the device time demanded per second of one lane: 1.0 keeps it busy all the time
    with the batches of the rule.

    Work without a deadline does not count.

    Args:
        arrivals: the workload.
        served: the models.
        rule: which batches to assume, see `Cost.item_ns`.
        margin: multiplies the profile.
        duration_ns: of the workload; None: up to the last arrival.
        items: how often the apps that are not models ask for each model.

    Raises:
        UserError: an arrival asks for a model that is not served.
    """
    costs = {each.variant.model: cost_of(each) for each in served}
    parts = {model: {model: 1.0} for model in costs} | {app: dict(asked) for app, asked in (items or {}).items()}
    demanded = Counter[tuple[str, Time]]()
    for arrival in arrivals:
        if arrival.model not in parts:
            raise UserError(f"no model is called {arrival.model!r}; there is {', '.join(sorted(parts)) or 'none'}")
        if arrival.slo_ns is not None:
            demanded[arrival.model, arrival.slo_ns] += arrival.size
    busy_ns = sum(
        count * often * costs[model].item_ns(slo_ns, rule, margin)
        for (app, slo_ns), count in demanded.items()
        for model, often in parts[app].items()
    )
    return busy_ns / (duration_ns or span_ns(arrivals))


def short(load: float) -> float:
    """Returns a load rounded to four digits, for tables."""
    return float(f"{load:.4g}")


def span_ns(arrivals: Sequence[Arrival]) -> Time:
    """Returns the time from 0 to just after the last arrival in ns, at least 1."""
    return max((arrival.arrived_ns for arrival in arrivals), default=0) + 1


def scaled(arrivals: Sequence[Arrival], factor: float, seed: int = 0, how: How = "copies") -> list[Arrival]:
    """Returns the arrivals at `factor` times the rate, in order of time.

    Args:
        arrivals: at least one.
        factor: above 0.
        seed: of the copies' offsets, or of the thinning.
        how: "copies": the number of copies of the whole site that comes nearest to the factor, at least one; each copy
            is rotated in time by a random offset, and the rest of the factor is reached by scaling time. Streams get
            the copy's number as a suffix. "compress": the same arrivals with time scaled: bursts become denser,
            deadlines stay. "thin": a random share at the same times; above 1, each arrival is repeated at its instant.

    Raises:
        UserError: there are no arrivals, or the factor is not above 0.
    """
    if factor <= 0 or not arrivals:
        raise UserError(f"scaling: {len(arrivals)} arrivals times {factor:g}: nothing is left")
    if how == "thin":
        return thinned(arrivals, factor, seed)
    copies = max(1, round(factor)) if how == "copies" else 1
    turned = arrivals if copies == 1 else [each for copy in range(copies) for each in turned_by(arrivals, copy, seed)]
    pace = copies / factor
    return by_time(replace(each, arrived_ns=round(each.arrived_ns * pace)) for each in turned)


def turned_by(arrivals: Sequence[Arrival], copy: int, seed: int) -> list[Arrival]:
    """Returns a copy of the site rotated in time by a random offset, so that the relation
    between its streams is preserved.
    """
    duration_ns = span_ns(arrivals)
    turn_ns = int(stream_rng("copies", str(copy), seed).integers(duration_ns)) if copy else 0
    return [
        replace(each, arrived_ns=(each.arrived_ns + turn_ns) % duration_ns, stream=f"{each.stream}.{copy}")
        for each in arrivals
    ]


def thinned(arrivals: Sequence[Arrival], factor: float, seed: int) -> list[Arrival]:
    """Returns each arrival kept, or repeated at its instant, at random from a generator per stream."""
    whole, part = int(factor), factor % 1
    rngs: dict[str, np.random.Generator] = {}
    kept = []
    for each in by_time(arrivals):
        rng = rngs.setdefault(each.stream, stream_rng("thin", each.stream, seed))
        size = each.size * whole + int(rng.binomial(each.size, part))
        kept += [replace(each, size=size)] if size else []
    return kept


def split(
    arrivals: Sequence[Arrival], shares: Mapping[str, float], slos_ns: Mapping[str, Time], seed: int = 0
) -> list[Arrival]:
    """Assigns the arrivals of a trace without models to models at random, model m with share m.

    Each stream is divided into one per model and gets the model's name as a suffix. Raises `UserError` when no share is
    above 0.
    """
    if not shares or min(shares.values()) < 0 or not sum(shares.values()):
        raise UserError("split: name at least one model, with a share above 0")
    models, total = [*shares], sum(shares.values())
    chances = [shares[model] / total for model in models]
    drawn = stream_rng("split", "", seed).choice(len(models), len(arrivals), p=chances)
    return [
        replace(each, model=models[at], stream=f"{each.stream}/{models[at]}", slo_ns=slos_ns.get(models[at]))
        for each, at in zip(arrivals, drawn.tolist(), strict=True)
    ]
