"""The options of a comparison as scenarios and systems; one line for whatever cannot be meant."""

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
    """Ready to run."""

    scenarios: Sequence[Scenario]
    systems: Sequence[System]
    estimator: PlugIn | None  # None: each system its own
    baseline: str
    notes: Sequence[str]  # what was left out, ignored or is doubtful, one line each
    bound: str = QUICK  # which of `BOUNDS`

    def close(self) -> list[int]:
        """The scenarios to look at from near: the first seed of the load that is most telling."""
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
    """Raises `UserError` where nothing is left to compare. `hint`: what to do about needs that are not met."""
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
    """Where schedulers differ and users still live: the load next to `FOCUS_LOAD`."""
    return min(loads, key=lambda load: (abs(load - FOCUS_LOAD), load))


def baseline_of(taken: Sequence[System], named: str) -> str:
    names = [one.name for one in taken]
    if named and named not in names:
        raise UserError(f"--baseline: {named!r} does not take part; here: {', '.join(names)}")
    return named or (OWN if OWN in names else names[0])


def grid(make: Make, loads: Sequence[float | None], arrivals: Sequence[str], seeds: int) -> list[Scenario]:
    """Seed by seed: where somebody loses patience, every row has some of them. Raises `UserError`."""
    return [bounded(make(load, name, seed)) for seed in range(seeds) for name in arrivals for load in loads]


def bounded(scenario: Scenario) -> Scenario:
    """Raises `UserError` for one that nobody would wait for: a model of microseconds asks for many requests."""
    if (count := len(scenario.requests)) > REQUESTS_MAX:
        raise UserError(f"{scenario.name}: {count:,} requests are too many; shorten --duration")
    return scenario


def numbers(text: str, option: str) -> list[float]:
    """`0.5,0.7`: positive numbers, ascending and each once."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < number < float("inf") for number in found):
        raise UserError(f"{option}: expected numbers above 0 such as 0.7,0.9,1.1; got {text!r}")
    return sorted(set(found))


def words(text: str) -> list[str]:
    """`a,b`: each once, in this order."""
    return [*dict.fromkeys(part.strip() for part in text.split(",") if part.strip())]


def processes(text: str) -> list[str]:
    """Names of arrival processes, each tried. Raises `UserError`."""
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
    """`own`, `table`, or an import path."""
    if text == "own":
        return None
    if text == "table":
        return PlugIn(use=TABLE.use, margin=margin)
    if ":" not in text:
        raise UserError(f"--estimator: expected own, table, or package.module:Class; got {text!r}")
    named = PlugIn(use=text)
    named.build()
    return named
