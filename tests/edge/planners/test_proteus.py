"""More is asked for: cheaper variants. Less: the most accurate. More than all can serve: what can be."""

from collections.abc import Mapping
from itertools import pairwise

import pytest

from edge.core.events import Event, Planned
from edge.core.interfaces import Moment
from edge.estimators.table import Table
from edge.planners.proteus import Proteus
from edge.policies.accscale import AccScale
from edge.policies.wrappers.default_stack import complete
from evaluation.arrivals.request import Arrival, requests_of
from evaluation.scenario import MS, Scenario, play
from tests.edge.policies.variants_builder import variants

# In batches of 8, which run in half of 100 ms: 5 ms an item, and 1.25.
EYE = variants("eye", 8, exact=(4, 8, 0.9), quick=(1, 2, 0.7))


class Plans:
    def __init__(self) -> None:
        self.posted: list[tuple[int, Mapping[str, Mapping[str, float]]]] = []

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        if isinstance(moment.event, Planned):
            self.posted.append((moment.now, moment.event.plan.variants))
        return ()


def plans(rates: Mapping[int, int], **options: float) -> list[tuple[int, Mapping[str, Mapping[str, float]]]]:
    """`rates`: from second -> requests a second, the last one for four seconds."""
    times, begins = [], [*rates, max(rates) + 4]
    for begin, end in pairwise(begins):
        times += range(begin * 1000 * MS, end * 1000 * MS, 1000 * MS // rates[begin])
    came = [Arrival(time_ns, "cam", "eye", 100 * MS) for time_ns in times]
    kept = Plans()
    box = Scenario("eye", (EYE,), requests_of(came), slowdown=0)
    play(box, complete(AccScale()), Table(), (Proteus(**options), kept))
    return kept.posted


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (100, 1.0),
        (250, 0.682),  # 1000 ms = 262.5 (5 x + 1.25 (1 - x))
        (500, 0.175),
        (1000, 0.0),  # 800 can be served
    ],
)
def test_the_mix_that_the_demand_leaves_time_for(rate: int, exact: float) -> None:
    _, found = plans({0: rate})[0]
    assert found["eye"].get("exact", 0.0) == pytest.approx(exact, abs=0.02)
    assert sum(found["eye"].values()) == pytest.approx(1)


def test_more_headroom_buys_less_accuracy() -> None:
    _, found = plans({0: 250}, headroom=1.6)[0]
    assert found["eye"]["exact"] == pytest.approx(0.333, abs=0.02)


def test_it_follows_the_demand() -> None:
    posted = plans({0: 100, 4: 600, 10: 600}, window_s=1.0)
    assert posted[0][1]["eye"] == {"exact": 1.0}
    assert posted[-1][1]["eye"]["quick"] > 0.9


def test_what_did_not_change_is_not_posted_again() -> None:
    assert len(plans({0: 100})) == 1


def test_a_demand_beyond_all_measure_gets_no_plan() -> None:
    """800 can be served, a fifth of the demand is 1000."""
    assert plans({0: 5000}) == []


@pytest.mark.parametrize("options", [{"least": 0}, {"least": 2}, {"lower": 0}])
def test_options_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="least must be"):
        Proteus(**options)
