"""Needs: what a scenario lacks is said in one line; what plays no part is said, too."""

from dataclasses import replace

import pytest

from devices.traits import Traits
from edge.answers.cascade import Cascade
from edge.core.events import LaneUp, Served
from edge.plugins import About, PlugIn
from edge.systems import System
from evaluation.requirements import ignored, missing, offered, refusal
from evaluation.scenario import Scenario, affine
from porting.variant import Variant


def box(*served: Served, **more) -> Scenario:
    return Scenario("box", served or (affine("m", 1, 1),), (), **more)


def with_variants(count: int) -> Served:
    one = affine("m", 1, 1)
    names = ("small", "tiny", "huge")[: count - 1]
    return replace(one, others=tuple(Variant("m", name, one.variant.stages) for name in names))


class Needy:
    about = About(paper="a test", needs=frozenset({"variants", "lanes"}))


class Modest:
    about = About(paper="a test")


NEEDY, MODEST = (
    System(name=kind.__name__.lower(), policy=PlugIn(use=f"{__name__}:{kind.__name__}")) for kind in (Needy, Modest)
)
TWO_LANES = (LaneUp("a", "cpu", 1 << 40), LaneUp("b", "cpu", 1 << 40))


@pytest.mark.parametrize(
    ("scenario", "has"),
    [
        (box(), {"preemption"}),
        (box(with_variants(2)), {"preemption", "variants"}),
        (box(with_variants(3)), {"preemption", "variants", "ensemble"}),
        (box(lanes=TWO_LANES), {"preemption", "lanes"}),
        (box(lanes=(LaneUp("far", "remote", 1 << 40),)), {"remote"}),
        (box(lanes=(LaneUp("far", "other", 1 << 40, Traits(remote=True, stoppable=True)),)), {"remote", "preemption"}),
        (box(lanes=(LaneUp("gpu", "tensorrt", 1 << 40),)), set()),
        (box(affine("m", 1, 1), affine("n", 1, 1), lanes=(LaneUp("a", "cpu", 1500),)), {"preemption", "memory"}),
        (box(facts={"labels": 0.1}), {"preemption", "labels"}),
    ],
)
def test_what_a_scenario_has(scenario: Scenario, has: set[str]):
    assert offered(scenario) == has


def test_what_a_system_misses():
    assert missing(NEEDY, box()) == {"lanes", "variants"}
    assert missing(NEEDY, box(with_variants(2))) == {"lanes"}
    assert missing(NEEDY, box(with_variants(2), lanes=TWO_LANES)) == set()
    assert missing(MODEST, box()) == set()


def test_a_refusal_says_who_needs_what_and_why_not():
    both = "needy needs lanes and variants: box has one lane and has one variant a model"
    assert refusal(["needy"], {"variants", "lanes"}, box()) == both
    assert refusal(["needy", "other"], {"lanes"}, box()) == "needy, other need lanes: box has one lane"


def test_what_plays_no_part_is_told():
    assert ignored(MODEST, box()) == ()
    assert ignored(NEEDY, box(with_variants(2))) == ()
    answering = MODEST.model_copy(update={"answer": PlugIn(use="edge.answers.single:Single")})
    apps = {"junction": Cascade("m")}
    said = ("modest: its answer is for apps of one model; junction kept their own",)
    assert ignored(answering, box(answers=apps)) == said
