"""Every plug-in says whose idea it is and where its defaults come from; every system is made of such ones, and runs."""

from dataclasses import fields, is_dataclass, replace
from functools import cache

import pytest

from edge.plugins import NEEDS, About, PlugIn
from edge.systems import system, systems
from evaluation.comparison import outcomes
from evaluation.presets import PRESETS, preset
from evaluation.requirements import missing, offered
from evaluation.scenario import Scenario
from tests.contracts.conftest import classes_in

KINDS = {
    "edge.policies": "decide",
    "edge.planners": "observe",
    "edge.answers": "opened",
    "edge.estimators": "learn",
}
CANDIDATES = [kind for package, method in KINDS.items() for kind in classes_in(package, method)]
FOUND = [kind for kind in CANDIDATES if hasattr(kind, "about")]  # the others: what a plug-in keeps beside it
EVERY = pytest.mark.parametrize("kind", FOUND, ids=lambda kind: f"{kind.__module__.split('.')[1]}.{kind.__name__}")
EVERY_SYSTEM = pytest.mark.parametrize("name", systems())
TABLE = PlugIn(use="edge.estimators.table:Table", margin=1.06)


def options(kind: type) -> list[str]:
    """What may be set: the fields of a dataclass that its constructor takes."""
    assert is_dataclass(kind), f"{kind.__name__} is no dataclass: what are its options?"
    return [field.name for field in fields(kind) if field.init and not field.name.startswith("_")]


@pytest.mark.parametrize("module", sorted({kind.__module__ for kind in CANDIDATES}))
def test_a_file_holds_a_plug_in_with_a_card(module: str) -> None:
    assert [kind for kind in FOUND if kind.__module__ == module], f"{module}: no class of it has `about`"


@EVERY
def test_a_plug_in_says_whose_idea_it_is(kind: type) -> None:
    about = kind.about  # type: ignore[attr-defined]
    assert isinstance(about, About)
    assert about.paper.strip()
    assert not [line for line in about.deviations if not line.strip()]
    assert isinstance(about.deviations, tuple), "a deviation alone is a tuple of one: mind the comma"


@EVERY
def test_each_option_has_a_source_and_each_source_an_option(kind: type) -> None:
    sources = kind.about.sources  # type: ignore[attr-defined]
    assert sorted(sources) == sorted(options(kind))
    assert not [name for name, source in sources.items() if not source.strip()]


@EVERY
def test_needs_are_known(kind: type) -> None:
    assert kind.about.needs <= NEEDS  # type: ignore[attr-defined]


@cache
def scenario(name: str) -> Scenario:
    """Small, and so loaded that somebody has to wait; somebody says of each answer whether it was right."""
    made = preset(name, 1.2, "gamma4", 3, 0.6)
    return replace(made, facts={**made.facts, "labels": 1.0})


@EVERY_SYSTEM
def test_every_plug_in_of_a_system_has_a_card(name: str) -> None:
    chosen = system(name)
    assert set(chosen.abouts()) == set(chosen.parts())


@EVERY_SYSTEM
def test_every_system_runs_wherever_it_is_not_refused(name: str) -> None:
    chosen = system(name)
    willing = [each for each in PRESETS if not missing(chosen, scenario(each))]
    everywhere = frozenset().union(*(offered(scenario(each)) for each in PRESETS))
    assert willing or not chosen.needs() <= everywhere, f"no preset has what {name} needs: {chosen.needs()}"
    for outcome in outcomes([scenario(each) for each in willing], [chosen], TABLE, workers=1):
        assert outcome.trouble == ""
        assert outcome.scores is not None
        assert outcome.scores.bound is not None
        assert outcome.scores.goodput <= outcome.scores.bound
        assert "unanswered" not in outcome.scores.outcomes
