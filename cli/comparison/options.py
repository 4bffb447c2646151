"""Turns the options of a comparison into scenarios and systems; one that makes no sense is refused in one line."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edge.plugins import PlugIn
from edge.systems import System, system, systems
from evaluation.arrivals.registry import process
from evaluation.bounds.scenario_bounds import BOUNDS, QUICK
from evaluation.requirements import ignored, missing, refusal
from evaluation.scenario import Scenario
from evaluation.validity import check, doubts
from porting.errors import UserError

OWN = "leeway"  # the system that the others are compared with, where it takes part
FOCUS_LOAD = 0.9
REQUESTS_MAX = 500_000  # of one trace: half a minute for each system
TABLE = PlugIn(use="edge.estimators.table:Table", margin=1.06)

Make = Callable[[float | None, str, int], Scenario]  # load, arrivals, seed; no load: a trace as it is


@dataclass(frozen=True)
class Comparison:
    """Holds a comparison that was checked and can be run."""

    scenarios: Sequence[Scenario]
    systems: Sequence[System]
    estimator: PlugIn | None  # None: each system its own
    baseline: str
    notes: Sequence[str]  # what was left out, ignored or is doubtful, one line each
    bound: str = QUICK  # which of `BOUNDS`

    def close(self) -> list[int]:
        """Returns the indices of the scenarios to look at in detail: the first seed at the focus load."""
        loads = [scenario.facts["load"] for scenario in self.scenarios]
        focus, first = focus_of(loads), self.scenarios[0].facts["seed"]
        return [i for i, one in enumerate(self.scenarios) if one.facts["load"] == focus and one.facts["seed"] == first]


def comparison(
    scenarios: Sequence[Scenario],
    named: Sequence[str],
    estimator: PlugIn | None,
    baseline: str,
    hint: Callable[[Iterable[str]], str],
    bound: str = QUICK,
) -> Comparison:
    """Returns a comparison of the named systems, or of all, without those whose needs the scenarios do not meet.

    `hint`: says what to do about needs that are not met. Raises `UserError` where nothing is left to compare.
    """
    for scenario in scenarios:
        check(scenario)
    first = scenarios[0]
    chosen = [system(name) for name in named] if named else [*systems().values()]
    lacking = {one.name: missing(one, first) for one in chosen}
    taken = [one for one in chosen if not lacking[one.name]]
    said = [
        refusal([name for name in lacking if lacking[name] == needs], needs, first) + hint(needs)
        for needs in dict.fromkeys(lacking.values())
        if needs
    ]
    if not taken:
        raise UserError("; ".join(said))
    return Comparison(
        scenarios,
        taken,
        estimator,
        baseline_of(taken, baseline),
        [*first.notes, *doubts(first), *said, *(note for one in taken for note in ignored(one, first))],
        bound_of(bound),
    )


def focus_of(loads: Iterable[float]) -> float:
    """Returns the load closest to `FOCUS_LOAD`, where schedulers differ and most requests can still be in time."""
    return min(loads, key=lambda load: (abs(load - FOCUS_LOAD), load))


def baseline_of(taken: Sequence[System], named: str) -> str:
    """Returns the system to compare with: the named one, else `OWN`, else the first. Raises `UserError`."""
    names = [one.name for one in taken]
    if named and named not in names:
        raise UserError(f"--baseline: {named!r} does not take part; here: {', '.join(names)}")
    return named or (OWN if OWN in names else names[0])


def grid(make: Make, loads: Sequence[float | None], arrivals: Sequence[str], seeds: int) -> list[Scenario]:
    """Returns scenarios ordered by seed, then arrivals, then load, so that an interrupted run has results in every row.

    Raises `UserError` where one has too many requests.
    """
    return [bounded(make(load, name, seed)) for seed in range(seeds) for name in arrivals for load in loads]


def bounded(scenario: Scenario) -> Scenario:
    """Returns the scenario. Raises `UserError` where it has more than `REQUESTS_MAX` requests.

    A model that runs in microseconds is busy only with a great many of them.
    """
    if (count := len(scenario.requests)) > REQUESTS_MAX:
        raise UserError(f"{scenario.name}: {count:,} requests are too many; shorten --duration")
    return scenario


def numbers(text: str, option: str) -> list[float]:
    """Returns the numbers in `0.5,0.7`, ascending and each once. Raises `UserError` unless all are positive."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < number < float("inf") for number in found):
        raise UserError(f"{option}: expected numbers above 0 such as 0.7,0.9,1.1; got {text!r}")
    return sorted(set(found))


def words(text: str) -> list[str]:
    """Returns the words in `a,b` in this order, without duplicates."""
    return [*dict.fromkeys(part.strip() for part in text.split(",") if part.strip())]


def processes(text: str) -> list[str]:
    """Returns the names of arrival processes in `poisson,gamma4`. Raises `UserError` for an unknown one, or none."""
    named = words(text)
    if not named:
        raise UserError("--arrivals: expected names such as poisson,gamma4")
    for name in named:
        process(name)
    return named


def bound_of(text: str) -> str:
    """Returns the name of the bounds to compute. Raises `UserError` for any that is not in `BOUNDS`."""
    if text not in BOUNDS:
        raise UserError(f"--bound: expected {' or '.join(BOUNDS)}; got {text!r}")
    return text


def estimator_of(text: str, margin: float) -> PlugIn | None:
    """Returns the estimator for all systems from `table` or an import path; None for `own`, each system its own.

    `margin`: factor on the durations of `table`. Raises `UserError` for anything else.
    """
    if text == "own":
        return None
    if text == "table":
        return PlugIn(use=TABLE.use, margin=margin)
    if ":" not in text:
        raise UserError(f"--estimator: expected own, table, or package.module:Class; got {text!r}")
    named = PlugIn(use=text)
    named.build()
    return named
