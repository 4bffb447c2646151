"""Checks that a scenario has what a system needs; a comparison that makes no sense is refused in one line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge.answers.single import Single
from edge.plugins import NEEDS
from edge.systems import System
from evaluation.scenario import Scenario
from porting.variant import Stage

# need -> what a scenario without it is like
LACKS: Mapping[str, str] = {
    "variants": "has one variant a model",
    "lanes": "has one lane",
    "remote": "has no remote lane",
    "labels": "has no labels that say which answers were right",
    "ensemble": "has no model of three variants that could vote",
    "preemption": "has a lane that cannot be stopped halfway",
    "memory": "has memory for all its models",
}
assert set(LACKS) == NEEDS


def offered(scenario: Scenario) -> frozenset[str]:
    """Returns which of `NEEDS` the scenario has."""
    variants = [1 + len(served.others) for served in scenario.served]
    memory = sum({blob: size for stage in stages(scenario) for blob, size in stage.blobs.items()}.values())
    has = {
        "variants": max(variants, default=0) > 1,
        "ensemble": max(variants, default=0) > 2,
        "lanes": len(scenario.lanes) > 1,
        "remote": any(lane.traits.remote for lane in scenario.lanes),
        "preemption": all(lane.traits.stoppable for lane in scenario.lanes),
        "memory": any(lane.memory_bytes < memory for lane in scenario.lanes),
        "labels": bool(scenario.facts.get("labels")),
    }
    return frozenset(need for need, there in has.items() if there)


def missing(system: System, scenario: Scenario) -> frozenset[str]:
    """Returns what the system needs and the scenario lacks; empty: it may run."""
    return system.needs() - offered(scenario)


def refusal(names: Sequence[str], needs: Iterable[str], scenario: Scenario) -> str:
    """Returns the reason why systems with these unmet needs cannot be compared on this scenario, in one line."""
    wanted = sorted(needs)
    lacks = " and ".join(LACKS[need] for need in wanted)
    verb = "needs" if len(names) == 1 else "need"
    return f"{', '.join(names)} {verb} {' and '.join(wanted)}: {scenario.name} {lacks}"


def ignored(system: System, scenario: Scenario) -> tuple[str, ...]:
    """Returns a note for each part of the system that has no effect in this scenario."""
    notes = []
    kept = sorted(app for app, answer in scenario.answers.items() if not isinstance(answer, Single))
    if system.answer is not None and kept:
        notes.append(f"{system.name}: its answer is for apps of one model; {', '.join(kept)} kept their own")
    return tuple(notes)


def stages(scenario: Scenario) -> Iterator[Stage]:
    """Yields every stage of the scenario's models."""
    for served in scenario.served:
        yield from served.stages
