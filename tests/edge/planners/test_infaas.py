"""Upgrade or replicate: more lanes where that is cheap, a faster variant where it is not, and back when it is calm."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from edge.answers.infaas import ModelLess
from edge.core.events import LaneUp, Planned, Request, Served
from edge.estimators.table import Table
from edge.planners.infaas import Scale, UpgradeOrReplicate, placed
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import Scenario, play
from evaluation.synthetic import MS, stage
from porting.variant import Variant

Moves = Callable[..., Scale]


def moved(needs: list[float], there: float, scale: Scale | None = None, **options: Any) -> Scale:
    scale = scale or Scale()
    UpgradeOrReplicate(**options)._scale(scale, needs, there)
    return scale


@pytest.mark.parametrize(
    ("needs", "there", "fastest", "lanes"),
    [
        ([0.9, 0.5], 1, 0, 1),  # enough as it is
        ([0.96, 0.5], 1, 1, 1),  # there is no other lane
        ([1.2, 0.9], 2, 1, 1),  # two lanes against one is more than 1.5 times
        ([2.4, 1.8], 4, 0, 3),  # three against two is not
        ([3.5, 1.8], 3, 1, 1),  # four lanes are not there
        ([5.0], 3, 0, 3),  # nothing is faster: all there are
    ],
)
def test_up(needs: list[float], there: float, fastest: int, lanes: int) -> None:
    scale = moved(needs, there)
    assert (scale.fastest, scale.lanes) == (fastest, lanes)


def test_down_after_so_many_calm_periods_in_a_row_first_lanes_then_variants() -> None:
    scale = Scale(fastest=1, lanes=2)
    steps = []
    for calm in [True] * 2 + [False] + [True] * 6:
        moved([0.5, 0.2] if calm else [2.2, 1.8], 2, scale, rounds=3)
        steps.append((scale.fastest, scale.lanes))
    assert steps == [(1, 2)] * 5 + [(1, 1)] * 3 + [(0, 1)]


@pytest.mark.parametrize(
    ("wanted", "lanes"),
    [
        ({"a": 1, "b": 1}, {"x": ("a",), "y": ("b",)}),
        ({"a": 2, "b": 1}, {"x": ("a", "b"), "y": ("a",)}),
        ({"a": 9}, {"x": ("a",), "y": ("a",)}),
    ],
)
def test_lanes_are_shared_out_evenly(wanted: Mapping[str, int], lanes: Mapping[str, tuple[str, ...]]) -> None:
    assert placed(wanted, ("x", "y")) == lanes


class Plans:
    def __init__(self) -> None:
        self.variants: list[list[str]] = []
        self.placements: list[dict[str, tuple[str, ...]]] = []

    def observe(self, moment: Any) -> tuple[()]:
        if isinstance(moment.event, Planned):
            self.variants.append([*moment.event.plan.variants["m"]])
            self.placements.append(dict(moment.event.plan.placement))
        return ()


def run(rates: list[int], lanes: int = 1, **options: float) -> tuple[Plans, Any]:
    """A second at each rate; small does 500 a second and more in batches, large about a tenth of it."""
    small, large = stage("s", 2), stage("l", 20)
    offered = Served(
        Variant("m", "large", (large.digest,), accuracy=0.9),
        (small, large),
        (Variant("m", "small", (small.digest,), accuracy=0.7),),
    )
    times = [second * 1000 * MS + at * 1000 * MS // rate for second, rate in enumerate(rates) for at in range(rate)]
    requests = tuple(Request(number, "m", "gate", at, at + 100 * MS) for number, at in enumerate(times, 1))
    ups = tuple(LaneUp(f"sim{lane}", "simulated", 1 << 30) for lane in range(lanes))
    scenario = Scenario("s", (offered,), requests, {"m": ModelLess("m")}, ups)
    plans = Plans()
    return plans, play(scenario, complete(Fifo()), Table(), (UpgradeOrReplicate(rounds=3, **options), plans))  # type: ignore[arg-type]


def test_a_rush_is_served_by_the_faster_variant_and_calm_by_the_better_one() -> None:
    plans, world = run([20] * 4 + [200] * 6 + [20] * 14)
    assert plans.variants == [["large", "small"], ["small"], ["large", "small"]]
    assert sum(reply.outcome == "ok" for _, reply in world.replies) > 0.9 * len(world.replies)


def test_with_several_lanes_models_are_placed() -> None:
    plans, _ = run([20] * 3 + [130] * 8, lanes=3, cost=2.0)
    assert plans.placements[0] == {"sim0": ("m",), "sim1": (), "sim2": ()}
    assert plans.placements[-1] == {"sim0": ("m",), "sim1": ("m",), "sim2": ()}
