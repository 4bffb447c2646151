"""Importance of members: shares of variants, and lanes by weight."""

from typing import Any

import pytest

from edge.answers.ensemble import Ensemble
from edge.core.events import LaneUp, Planned, Request
from edge.estimators.table import Table
from edge.planners.cocktail import Importance, lanes_of, shares_of
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import Scenario, play
from evaluation.synthetic import MS, served, stage


@pytest.mark.parametrize(
    ("served_by", "lanes"),
    [
        ({("a", "x"): 10, ("b", "x"): 5, ("c", "x"): 1}, {"a": 4, "b": 2, "c": 1}),
        ({("a", "x"): 5, ("a", "y"): 9, ("b", "x"): 10}, {"b": 4, "a": 3}),
        ({("a", "x"): 7, ("b", "x"): 7}, {"a": 4, "b": 4}),
    ],
)
def test_lanes_by_weight(served_by: dict[tuple[str, str], int], lanes: dict[str, int]) -> None:
    assert list(lanes_of(served_by, 4).items()) == list(lanes.items())


def test_shares_of_variants_that_are_still_there() -> None:
    served_by = {("a", "x"): 6, ("a", "y"): 2, ("a", ""): 2, ("b", "x"): 1}
    assert shares_of(served_by) == {"a": {"x": 0.6, "y": 0.2}, "b": {"x": 1.0}}


class Plans:
    def __init__(self) -> None:
        self.plans: list[Any] = []

    def observe(self, moment: Any) -> tuple[()]:
        if isinstance(moment.event, Planned):
            self.plans.append(moment.event.plan)
        return ()


def test_in_a_run_who_is_asked_more_gets_more_lanes() -> None:
    offered = tuple(served(name, stage(name, 2)) for name in ("often", "seldom"))
    answers = {"both": Ensemble(members=("often", "seldom"))}
    times = range(0, 5000, 20)
    requests = tuple(
        Request(n, "both" if n % 5 == 0 else "often", "gate", at * MS, (at + 100) * MS) for n, at in enumerate(times, 1)
    )
    lanes = tuple(LaneUp(f"sim{lane}", "simulated", 1 << 30) for lane in range(3))
    plans = Plans()
    play(Scenario("s", offered, requests, answers, lanes), complete(Fifo()), Table(), (Importance(1.0), plans))
    assert plans.plans[-1].placement == {"sim0": ("often", "seldom"), "sim1": ("often",), "sim2": ("often",)}
    assert plans.plans[-1].variants == {"often": {"fp32": 1.0}, "seldom": {"fp32": 1.0}}
