"""Model-less requests: accurate enough and quick enough, the slowest that is both; overloaded ones are left alone."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from edge.answers.infaas import ModelLess
from edge.core.events import Evict, LaneUp, Plan, Planned, Reply, Request, Run, Served, Task, Woke
from edge.core.interfaces import Moment
from evaluation.synthetic import MS, stage
from porting.variant import Variant

VARIANTS = {"small": (2, 0.7), "medium": (5, 0.8), "large": (20, 0.9)}  # ms, accuracy
SECOND = 1000 * MS

Build = Callable[..., Any]


class Bench:
    """A box with three variants, and the answer that looks at it."""

    def __init__(self, core: Build, lanes: Mapping[str, int] | None = None, **options: Any) -> None:
        stages = {name: stage(name, ms) for name, (ms, _) in VARIANTS.items()}
        self.chains = {name: (each.digest,) for name, each in stages.items()}
        variants = [Variant("m", name, self.chains[name], accuracy=each) for name, (_, each) in VARIANTS.items()]
        self.served = Served(variants[0], tuple(stages.values()), tuple(variants[1:]))
        self.box = core(self.served, lanes=lanes or {"cpu0": 10**6})
        self.answer = ModelLess("m", **options)
        self.number = 0
        self.see(self.served)

    def see(self, event: Any, *actions: Any, now: int = 0) -> None:
        assert [*self.answer.observe(Moment(now, event, actions, self.box.state))] == []

    def ask(self, slo_ms: float | None = 100, now: int = 0) -> str:
        self.number += 1
        deadline_ns = None if slo_ms is None else now + round(slo_ms * MS)
        (opening,) = self.answer.opened(Request(self.number, "m", "gate", now, deadline_ns))
        return opening.variant

    def served_by(self, name: str, count: int, latency_ms: float, at: int) -> None:
        """So many of its requests are answered, each so long after it arrived."""
        for _ in range(count):
            self.number += 1
            self.answer.chosen[self.number] = (name, at - round(latency_ms * MS))
            self.see(Woke(), Reply(self.number, "ok"), now=at)


@pytest.fixture
def bench(core: Build) -> Callable[..., Bench]:
    return lambda **options: Bench(core, **options)


Make = Callable[..., Bench]


@pytest.mark.parametrize(
    ("slo_ms", "accuracy_min", "chosen"),
    [
        (100, 0.0, "large"),  # 2 * 20 ms fit
        (40, 0.0, "large"),
        (39, 0.0, "medium"),
        (9, 0.0, "small"),
        (3, 0.0, "small"),  # nothing fits: the quickest
        (39, 0.85, "large"),  # nothing that is accurate enough fits: the quickest of those
        (9, 0.75, "medium"),
        (100, 0.99, "large"),  # nothing is accurate enough: the most accurate
        (None, 0.0, "large"),
    ],
)
def test_the_slowest_that_is_accurate_and_fits(
    bench: Make, slo_ms: float | None, accuracy_min: float, chosen: str
) -> None:
    assert bench(accuracy_min=accuracy_min).ask(slo_ms) == chosen


def test_what_is_loaded_goes_before_what_is_not(bench: Make) -> None:
    made = bench()
    made.box.scheduler._apply(Evict("cpu0", made.chains["large"][0]))
    made.see(LaneUp("x", "cpu", 0))
    assert made.ask() == "medium"


def test_where_nothing_is_loaded_the_least_has_to_be(bench: Make) -> None:
    made = bench(lanes={"cpu0": 10**6})
    for chain in made.chains.values():
        made.box.scheduler._apply(Evict("cpu0", chain[0]))
    made.see(LaneUp("x", "cpu", 0))
    assert made.ask() == "small"  # as many bytes as the others, and the quickest


def test_the_usual_batch_decides_whether_it_fits(bench: Make) -> None:
    made = bench()
    tasks = tuple(Task(n, n, "m", made.chains["large"], 0, 0, 100) for n in range(8))
    made.see(Woke(), Run(1, "cpu0", made.chains["large"], tasks))
    made.see(Woke(), now=SECOND)  # a batch of eight takes 20 * 3.8 = 76 ms
    assert made.ask(slo_ms=151) == "medium"
    assert made.ask(slo_ms=153) == "large"


def test_before_anything_is_known_whatever_serves_is_asked() -> None:
    (opening,) = ModelLess("m").opened(Request(1, "m", "gate", 0, 100))
    assert (opening.model, opening.variant) == ("m", "")


# ---- overload ------------------------------------------------------------------------------------------------------

# One batch of large takes 20 ms, so it does 50 a second.


@pytest.mark.parametrize(
    ("count", "latency_ms", "overloaded"),
    [(26, 51, True), (25, 51, False), (26, 50, False), (500, 49, False)],
)
def test_it_is_overloaded_when_it_is_slow_while_it_has_much_to_do(
    bench: Make, count: int, latency_ms: float, overloaded: bool
) -> None:
    made = bench(probe=0.0)
    made.served_by("large", count, latency_ms, at=SECOND - 1)
    assert made.ask() == "large"  # not before the period is over
    made.see(Woke(), now=SECOND)
    assert made.ask() == ("medium" if overloaded else "large")


def test_a_backlog_is_overload_as_well(bench: Make) -> None:
    made = bench(probe=0.0)
    for _ in range(41):  # 0.8 s of it
        assert made.ask() == "large"
    made.see(Woke(), now=SECOND)
    assert made.ask() == "medium"


def test_it_comes_back_only_well_below_the_limit_that_it_went_over(bench: Make) -> None:
    made = bench(probe=0.0)
    periods = iter(range(1, 10))

    def period(latency_ms: float, count: int = 40) -> str:
        at = next(periods) * SECOND
        made.served_by("large", count, latency_ms, at=at - 1)
        made.see(Woke(), now=at)
        return made.ask(now=at)

    assert [period(51), period(49), period(31), period(29)] == ["medium", "medium", "medium", "large"]
    assert [period(51), period(0, count=0)] == ["medium", "large"]  # nobody asked it: it has nothing to do


def test_one_in_ten_still_tries_it(bench: Make) -> None:
    made = bench(seed=2)
    made.answer.overloaded.add("large")
    asked = Counter(made.ask() for _ in range(3000))
    assert asked["large"] == pytest.approx(300, abs=50)
    assert asked["medium"] == 3000 - asked["large"]


def test_where_all_are_overloaded_the_quickest_has_the_best_chance(bench: Make) -> None:
    made = bench(probe=0.0)
    made.answer.overloaded.update(VARIANTS)
    assert made.ask() == "small"


def test_the_plan_may_forbid_some(bench: Make) -> None:
    made = bench()
    made.box.do(Planned(Plan(variants={"m": {"small": 0.5, "medium": 0.5}})))
    made.see(Woke())
    assert made.ask() == "medium"
    made.box.do(Planned(Plan(variants={"m": {"gone": 1.0}})))
    made.see(Woke())
    assert made.ask() == "large"  # a plan for variants that are not there any more


def test_what_it_remembers_is_bounded(bench: Make) -> None:
    made = bench(remembered_max=10)
    for _ in range(100):
        made.ask()
    assert len(made.answer.chosen) == 10
