"""Bounds of cases small enough to be worked out by hand, and what may be left out of them without breaking them."""

from dataclasses import replace

import numpy as np
import pytest

from edge.answers.cascade import Cascade
from edge.answers.single import Single
from edge.core.events import LaneUp, Request, Served, Task
from edge.estimators.table import Table
from evaluation.bounds.demand import Demand, least_shares
from evaluation.bounds.goodput import fairest_bound, goodput_bound, weighted_bound
from evaluation.bounds.preemptive_relaxation import edf, jobs_of, most_value
from evaluation.presets import edge4, edge4_variants
from evaluation.scenario import MS, Scenario, affine
from porting.variant import Stage, Variant

LANE = LaneUp("sim0", "simulated", 1 << 40)


def asked(*windows: tuple[int, int], app: str = "m", first: int = 1) -> tuple[Request, ...]:
    """Arrival and deadline in ms."""
    return tuple(Request(first + at, app, "camera", a * MS, d * MS) for at, (a, d) in enumerate(windows))


def model(name: str, *variants: tuple[str, float, float, float]) -> Served:
    """(name, ms per item, ms per batch, accuracy), of one stage each, batches to 4."""
    stages = [affine(f"{name}-{each[0]}", each[1], each[2], 4).stages[0] for each in variants]
    made = [Variant(name, each[0], (s.digest,), accuracy=each[3]) for each, s in zip(variants, stages, strict=True)]
    return Served(made[0], tuple(stages), tuple(made[1:]))


def box(*requests: Request, served: tuple[Served, ...] = (affine("m", 2, 6, 4),), lanes: int = 1) -> Scenario:
    return Scenario("hand", served, requests, lanes=tuple(replace(LANE, lane=f"sim{at}") for at in range(lanes)))


# ---- the share of a request ----------------------------------------------------------------------------------------


def shares(*windows: tuple[int, int], count: int = 1) -> list[float]:
    """Of a stage that takes 8 for one and 10 for two."""
    begin, end = np.array(windows, np.int64).T
    return list(least_shares(begin, end, np.full(len(windows), count), {1: 8, 2: 10}))


@pytest.mark.parametrize(
    ("windows", "least"),
    [
        ([(0, 8)], [8]),
        ([(0, 7)], [float("inf")]),
        ([(0, 10), (0, 10)], [5, 5]),
        ([(0, 12), (2, 12)], [5, 5]),
        ([(0, 12), (3, 13)], [8, 8]),
        ([(0, 30), (10, 20), (30, 39)], [5, 5, 8]),
        ([(0, 10), (0, 10), (0, 9)], [5, 5, 8]),
    ],
)  # fmt: skip
def test_who_can_share_a_batch(windows: list[tuple[int, int]], least: list[float]) -> None:
    assert shares(*windows) == least


def test_two_things_in_one_frame_share_a_batch() -> None:
    assert shares((0, 10), count=2) == [5]
    assert shares((0, 10), count=0) == [float("inf")]


# ---- one model -----------------------------------------------------------------------------------------------------


def test_a_lane_holds_so_many() -> None:
    assert goodput_bound(box()) == 0
    assert goodput_bound(box(*asked((0, 7)))) == 0
    assert goodput_bound(box(*asked((0, 8)))) == 1
    assert goodput_bound(box(*asked((0, 8), (0, 8)))) == 1
    assert goodput_bound(box(*asked((0, 10), (0, 10)))) == 2
    assert goodput_bound(box(*asked(*[(0, 14)] * 9))) == 4
    assert goodput_bound(box(*asked((0, 8), (8, 16), (9, 17), (20, 28)))) == 3


def test_deadlines_need_not_come_in_the_order_of_arrivals() -> None:
    assert goodput_bound(box(*asked((0, 40), (1, 9), (2, 50)))) == 3


def test_requests_without_a_deadline_and_of_unknown_apps_are_left_out() -> None:
    background = Request(9, "m", "camera", 0, None)
    assert goodput_bound(box(*asked((0, 8)), background, *asked((0, 8), app="nobody", first=5))) == 1


def test_two_lanes_hold_twice_as_much() -> None:
    crowd = asked(*[(0, 8)] * 5)
    assert [goodput_bound(box(*crowd, lanes=lanes)) for lanes in (1, 2, 3)] == [1, 2, 3]


class Slow:
    """Profile: the second lane takes three times as long."""

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        return Table().duration_ns(stage, batch, lane) * (3 if lane == "sim1" else 1)

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None: ...


def test_a_slow_lane_counts_for_what_it_does() -> None:
    scenario = replace(box(*asked(*[(0, 24)] * 12), served=(affine("m", 0, 8, 1),), lanes=2), profile=Slow())
    assert Demand(scenario).speed == pytest.approx(4 / 3)
    assert goodput_bound(scenario) == 4


# ---- variants, chains, cascades ------------------------------------------------------------------------------------

TWO = model("m", ("large", 0, 10, 0.9), ("small", 0, 4, 0.6))


def test_the_quickest_variant_counts() -> None:
    alone = model("m", ("large", 0, 10, 0.9))
    crowd = [(0, 10)] * 4 + [(10, 14)]
    assert goodput_bound(box(*asked(*crowd), served=(alone,))) == 4
    assert goodput_bound(box(*asked(*crowd), served=(TWO,))) == 5


def test_accuracy_is_bought_where_it_is_cheapest() -> None:
    one_at_a_time = replace(TWO, stages=tuple(replace(stage, batches=(1,)) for stage in TWO.stages))
    scenario = box(*asked((0, 10), (0, 10)), served=(one_at_a_time,))
    # Two small ones take 8 and are worth 1.2; in the 2 that are left a third of one grows large.
    assert weighted_bound(scenario) == pytest.approx(1.2 + 0.3 / 3, abs=2e-3)
    assert weighted_bound(box(*asked((0, 12)), served=(one_at_a_time,))) == pytest.approx(0.9, abs=2e-3)
    assert weighted_bound(box(*asked((0, 6)), served=(one_at_a_time,))) == pytest.approx(0.6, abs=2e-3)


def chain(name: str, *stages: Stage) -> Served:
    return Served(Variant(name, "fp32", tuple(stage.digest for stage in stages)), stages)


BACKBONE, HEAD, OTHER = (affine(graph, 2, 6, 4).stages[0] for graph in ("backbone", "head", "other"))


def test_a_chain_takes_all_of_its_stages() -> None:
    served = (chain("m", BACKBONE, HEAD),)
    assert [goodput_bound(box(*asked((0, end)), served=served)) for end in (15, 16)] == [0, 1]
    # A batch of two in each stage takes 20; what is before and after it takes 8 at least.
    assert goodput_bound(box(*asked((0, 19), (0, 19)), served=served)) == 1
    assert goodput_bound(box(*asked((0, 20), (0, 20)), served=served)) == 2


def test_models_meet_in_a_stage_that_they_share() -> None:
    served = (chain("a", BACKBONE, HEAD), chain("b", BACKBONE, OTHER))
    both = (*asked((0, 26), app="a"), *asked((0, 26), app="b", first=2))
    assert Demand(box(*both, served=served)).shares_ns["a", 0, BACKBONE.digest].tolist() == [5 * MS]
    assert goodput_bound(box(*both, served=served)) == 2, "10 for both, then 8 for each"
    assert goodput_bound(box(*both, served=(chain("a", OTHER, HEAD), chain("b", BACKBONE, HEAD)))) == 2


def things(count: int) -> Scenario:
    served = (affine("detect", 0, 10, 1), affine("classify", 2, 6, 4))
    scenario = box(*asked((0, 30), app="app"), served=served)
    found = lambda task: {"thing": count, "other": 7} if task.model == "detect" else {}  # noqa: E731
    return replace(scenario, answers={"app": Cascade("detect", {"thing": "classify"}, 4)}, detections=found)


def test_a_cascade_takes_what_the_detector_finds() -> None:
    assert Demand(things(0)).ways(Demand(things(0)).apps[0], lambda _: 1.0)[0].work_ns.tolist() == [10 * MS]
    assert Demand(things(2)).ways(Demand(things(2)).apps[0], lambda _: 1.0)[0].work_ns.tolist() == [20 * MS]
    assert Demand(things(9)).ways(Demand(things(9)).apps[0], lambda _: 1.0)[0].work_ns.tolist() == [24 * MS]
    assert [goodput_bound(things(count)) for count in (0, 2, 9)] == [1, 1, 1]


def test_a_frame_without_finds_is_as_accurate_as_its_detector() -> None:
    served = (model("detect", ("v", 0, 10, 0.9)), model("classify", ("v", 2, 6, 0.5)))
    values = []
    for count in (0, 2):
        demand = Demand(replace(things(count), served=served))
        values += [float(way.value[0]) for way in demand.ways(demand.apps[0], lambda variant: variant.accuracy or 1.0)]
    assert values == [0.9, 0.7]


def test_what_a_detector_finds_by_chance_is_not_counted_on() -> None:
    scenario = replace(things(2), detections={"detect": {"thing": 4}})
    assert Demand(scenario).ways(Demand(scenario).apps[0], lambda _: 1.0)[0].work_ns.tolist() == [10 * MS]


class Unknown:
    """An answer of its own kind."""

    def models(self) -> tuple[str, ...]:
        return ("slow", "m")


def test_of_an_answer_that_nothing_is_known_of_one_model_must_speak() -> None:
    scenario = box(*asked((0, 8), app="app"), served=(affine("m", 2, 6, 4), affine("slow", 0, 99, 1)))
    assert goodput_bound(replace(scenario, answers={"app": Unknown()})) == 1  # type: ignore[dict-item]
    assert goodput_bound(replace(scenario, answers={"app": Single("slow")})) == 0


def test_many_variants_of_many_models_are_not_multiplied_out() -> None:
    tiers = [(f"v{at}", 0.0, 10.0 - at, 0.5 + at / 100) for at in range(5)]
    served = tuple(model(name, *tiers) for name in ("detect", "a", "b", "c"))
    scenario = box(*asked((0, 90), app="app"), served=served)
    cascade = Cascade("detect", {"x": "a", "y": "b", "z": "c"}, 4)
    scenario = replace(scenario, answers={"app": cascade}, detections=lambda task: dict.fromkeys("xyz", 1))
    demand = Demand(scenario)
    (way,) = demand.ways(demand.apps[0], lambda variant: variant.accuracy or 1.0)
    assert way.value == pytest.approx([0.54])
    assert way.work_ns.tolist() == [4 * 6 * MS]


# ---- preemptive relaxation -----------------------------------------------------------------------------------------


def test_a_stretch_ends_where_nothing_due_by_then_waited() -> None:
    windows = [(0, 100, 10), (20, 30, 6), (22, 30, 6), (40, 50, 3), (60, 70, 12), (70, 80, 12)]
    begin, end, work = np.array(windows, float).T
    done, full = edf(jobs_of(begin, end, work, np.ones(6), np.zeros(6, int)))
    assert full == [(20, 30), (60, 80)]
    assert done == 10 + 10 + 3 + 20


def test_value_by_owner() -> None:
    begin, end = np.zeros(3), np.full(3, 10.0)
    jobs = jobs_of(begin, end, np.array([4.0, 4.0, 4.0]), np.array([1.0, 3.0, 1.0]), np.array([0, 1, 2]))
    value = most_value(jobs)
    assert value[1] == pytest.approx(12)
    assert value.sum() == pytest.approx(12 + 6)


# ---- fairness ------------------------------------------------------------------------------------------------------

CHEAP, DEAR = affine("cheap", 0, 1, 1), affine("dear", 0, 4, 1)


def crowd() -> Scenario:
    """Ten of each, and time for ten and two and a half."""
    both = (*asked(*[(0, 20)] * 10, app="cheap"), *asked(*[(0, 20)] * 10, app="dear", first=11))
    return box(*both, served=(CHEAP, DEAR))


def test_the_fairest_share() -> None:
    assert goodput_bound(crowd()) == 12
    assert fairest_bound(crowd()) == pytest.approx(0.4, abs=0.02), "4 of each take 20"
    assert fairest_bound(box()) == 0


def test_nobody_needs_to_miss_at_a_low_load() -> None:
    scenario = edge4(0.3, "periodic", seed=1, duration_s=2.0)
    assert goodput_bound(scenario) == len(scenario.requests)
    assert fairest_bound(scenario, rounds=2) == 1.0


def test_it_is_below_what_was_offered_in_overload_and_variants_help() -> None:
    single, several = (preset(2.0, "poisson", 1, 3.0) for preset in (edge4, edge4_variants))
    assert 0.6 < goodput_bound(single) / len(single.requests) < 0.8
    assert goodput_bound(single) < goodput_bound(several)
    assert weighted_bound(several) < goodput_bound(several) * 0.86


def test_tasks_of_a_cascade_are_asked_once_for_each_frame() -> None:
    seen: list[Task] = []
    scenario = replace(things(1), detections=lambda task: seen.append(task) or {"thing": 1})  # type: ignore[func-returns-value]
    assert goodput_bound(scenario) == 1
    assert [(task.model, task.request) for task in seen] == [("detect", 1)]
