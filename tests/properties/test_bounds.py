"""No schedule beats a bound: not the best that all schedules tried one by one hold, and not that of any policy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge.answers.cascade import Cascade
from edge.core.events import LaneUp, Request, Served, Task
from edge.systems import System, systems
from evaluation.bounds.goodput import accuracy_of, fairest_bound, goodput_bound, weighted_bound
from evaluation.bounds.lagrangian import lagrangian_bound
from evaluation.bounds.preemptive_relaxation import edf, jobs_of, most_value
from evaluation.bounds.scenario_bounds import ScenarioBounds
from evaluation.comparison import examiner_of
from evaluation.metrics.lane_timeline import LaneTimeline
from evaluation.metrics.scores import Scores, score
from evaluation.requirements import missing
from evaluation.scenario import MS, Scenario, play
from porting.variant import Stage, Variant
from tests.properties.oracles import Item, best_by_force, best_of_one_model, edf_work, value_density_by_density

# ---- preemptive relaxation -------------------------------------------------------------------------------------------

WORK = st.sampled_from([500.0, 1000.0, 2000.0, 2500.0, 7000.0, 1000 / 3])
DENSITY = st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0])
TIMES = st.integers(0, 40).map(lambda time: 1000.0 * time)
JOBS = st.lists(st.tuples(TIMES, TIMES, WORK, DENSITY).filter(lambda job: job[1] > job[0]), min_size=1, max_size=16)


def columns(jobs: Sequence[tuple[float, ...]]) -> Any:
    begin, end, work, density = map(np.array, zip(*jobs, strict=True))
    return jobs_of(begin, end, work, density, np.zeros(len(jobs), int))


@given(JOBS)
@settings(max_examples=400, deadline=None)
def test_halving_the_densities_is_as_good_as_one_after_the_other(jobs: list[tuple[float, float, float, float]]) -> None:
    assert most_value(columns(jobs)).sum() == pytest.approx(value_density_by_density(jobs), abs=1e-3)


@given(JOBS)
@settings(max_examples=200, deadline=None)
def test_full_stretches_hold_all_that_is_missing(jobs: list[tuple[float, float, float, float]]) -> None:
    """Their length and the work outside are all that can be done: the cut that is as small as the flow is large."""
    done, full = edf(columns(jobs))
    assert done == pytest.approx(edf_work([job[:3] for job in jobs]), abs=1e-3)
    outside = [job[2] for job in jobs if not any(begin <= job[0] and job[1] <= end for begin, end in full)]
    assert done == pytest.approx(sum(outside) + sum(end - begin for begin, end in full), abs=1e-3)
    assert all(before[1] < after[0] for before, after in pairwise(full))


# ---- small scenarios -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """A box to be drawn at random. `shared`: models begin with one backbone of all."""

    models: int = 1
    variants: int = 1
    stages: int = 1
    lanes: int = 1
    requests: int = 5
    shared: bool = False


def drawn_scenario(draw: Any, shape: Shape, spread_ms: int = 12) -> Scenario:
    number = st.integers(1, 5)

    def stage(name: str) -> Stage:
        per_item, per_batch, batch_max = draw(number), draw(number), draw(st.integers(1, 4))
        durations_ns = {batch: (per_item * batch + per_batch) * MS for batch in range(1, batch_max + 1)}
        return Stage("onnx", name, batches=tuple(durations_ns), blobs={name: 10}, durations_ns=durations_ns)

    backbone, served = stage("backbone"), []
    for model in range(shape.models):
        chains = [
            [backbone if shape.shared and at == 0 else stage(f"m{model}v{variant}s{at}") for at in range(shape.stages)]
            for variant in range(shape.variants)
        ]
        variants = [
            Variant(
                f"m{model}", f"v{at}", tuple(s.digest for s in chain), accuracy=draw(st.sampled_from([0.5, 0.8, 1.0]))
            )
            for at, chain in enumerate(chains)
        ]
        stages = {s.digest: s for chain in chains for s in chain}
        served.append(Served(variants[0], tuple(stages.values()), tuple(variants[1:])))
    arrivals = sorted(draw(st.lists(st.integers(0, spread_ms), min_size=1, max_size=shape.requests)))
    requests = tuple(
        Request(
            number,
            f"m{draw(st.integers(0, shape.models - 1))}",
            "camera",
            at * MS,
            (at + draw(st.integers(3, 25))) * MS,
        )
        for number, at in enumerate(arrivals, 1)
    )
    lanes = tuple(LaneUp(f"sim{lane}", "simulated", 1 << 40) for lane in range(shape.lanes))
    return Scenario("drawn", tuple(served), requests, lanes=lanes)


def items(scenario: Scenario, weighted: bool) -> list[Item]:
    chains = {
        each.variant.model: tuple(
            (variant.stages, accuracy_of(variant) if weighted else 1.0) for variant in (each.variant, *each.others)
        )
        for each in scenario.served
    }
    return [Item(each.arrived_ns, each.deadline_ns or 0, chains[each.app]) for each in scenario.requests]


SHAPES = [
    Shape(requests=7),
    Shape(models=2, requests=7),
    Shape(models=3, requests=6),
    Shape(models=2, lanes=2),
    Shape(variants=2),
    Shape(models=2, variants=2, requests=4),
    Shape(stages=2, requests=4),
    Shape(models=2, stages=2, requests=4, shared=True),
    Shape(variants=2, stages=2, requests=4, shared=True),
    Shape(stages=2, lanes=2, requests=4),
]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_best_of_all_schedules_is_within_the_bound(shape: Shape, data: Any) -> None:
    scenario = drawn_scenario(data.draw, shape)
    durations_ns = {stage.digest: stage.durations_ns for each in scenario.served for stage in each.stages}
    best = best_by_force(items(scenario, weighted=False), durations_ns, shape.lanes)
    assert best <= goodput_bound(scenario) <= len(scenario.requests)
    best = best_by_force(items(scenario, weighted=True), durations_ns, shape.lanes)
    assert best <= weighted_bound(scenario) <= goodput_bound(scenario) + 1


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_one_model_exactly(data: Any) -> None:
    """The dynamic programme finds what trying everything finds, and it is within the bound where there is more."""
    scenario = drawn_scenario(data.draw, Shape(requests=7))
    slo_ns = data.draw(st.integers(3, 25)) * MS
    scenario = replace(
        scenario, requests=tuple(replace(r, deadline_ns=r.arrived_ns + slo_ns) for r in scenario.requests)
    )
    (stage,) = scenario.served[0].stages
    windows = [(each.arrived_ns, each.arrived_ns + slo_ns) for each in scenario.requests]
    exact = best_of_one_model(windows, lambda batch: stage.durations_ns[batch], stage.batches[-1])
    assert exact == best_by_force(items(scenario, weighted=False), {stage.digest: stage.durations_ns})
    assert exact <= goodput_bound(scenario)


def test_it_is_close_where_the_best_is_known() -> None:
    """One model, 200 requests, overload: the best schedule by dynamic programming, the bound 7 % above it, and the
    closer one 1 %.
    """
    rng = np.random.default_rng(5)
    stage = Stage("onnx", "g", batches=tuple(range(1, 9)), durations_ns={b: (2 * b + 6) * MS for b in range(1, 9)})
    times = np.cumsum(rng.exponential(2.5 * MS, 200)).astype(int).tolist()
    requests = tuple(Request(number, "m", "camera", at, at + 40 * MS) for number, at in enumerate(times, 1))
    scenario = Scenario("one", (Served(Variant("m", "v", (stage.digest,)), (stage,)),), requests)
    exact = best_of_one_model([(at, at + 40 * MS) for at in times], lambda batch: stage.durations_ns[batch], 8)
    assert exact <= goodput_bound(scenario) <= 1.08 * exact < 200
    assert exact <= lagrangian_bound(scenario) <= 1.02 * exact


@pytest.mark.parametrize(
    "shape", [Shape(requests=7), Shape(models=2, requests=7), Shape(models=3, requests=6)], ids=repr
)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_closer_bound_is_one_as_well(shape: Shape, data: Any) -> None:
    """After any number of rounds, with cells of any size."""
    scenario = drawn_scenario(data.draw, shape)
    slos_ns = {f"m{model}": data.draw(st.integers(3, 25)) * MS for model in range(shape.models)}
    requests = tuple(replace(each, deadline_ns=each.arrived_ns + slos_ns[each.app]) for each in scenario.requests)
    scenario = replace(scenario, requests=requests)
    durations_ns = {stage.digest: stage.durations_ns for each in scenario.served for stage in each.stages}
    cell_ns = data.draw(st.sampled_from([300_000, MS, 7 * MS]))
    closer = lagrangian_bound(scenario, rounds=data.draw(st.sampled_from([1, 5, 40])), cell_ns=cell_ns)
    assert best_by_force(items(scenario, weighted=False), durations_ns) <= closer <= goodput_bound(scenario)


@pytest.mark.parametrize("shape", [Shape(stages=2), Shape(variants=2), Shape(lanes=2)], ids=repr)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_there_is_none_closer_where_a_model_is_more_than_a_stage_on_a_lane(shape: Shape, data: Any) -> None:
    scenario = drawn_scenario(data.draw, shape)
    assert lagrangian_bound(scenario, rounds=5) == goodput_bound(scenario)


# ---- every policy --------------------------------------------------------------------------------------------------


def cascades(scenario: Scenario, counts: Sequence[int]) -> Scenario:
    """The first model finds things for the second; what a frame finds is the frame's."""

    def found(task: Task) -> dict[str, int]:
        return {"thing": counts[task.request % len(counts)]} if task.model == "m0" else {}

    requests = tuple(replace(each, app="pair") for each in scenario.requests)
    return replace(scenario, requests=requests, answers={"pair": Cascade("m0", {"thing": "m1"}, 3)}, detections=found)


CROWDS = [
    Shape(requests=30),
    Shape(models=3, requests=40),
    Shape(models=2, variants=3, requests=40),
    Shape(models=2, stages=2, requests=30, shared=True),
    Shape(models=2, variants=2, lanes=2, requests=40),
    Shape(models=2, variants=3, lanes=2, requests=40),
]


def furnished(scenario: Scenario, needs: frozenset[str]) -> Scenario:
    """With what a system wants to find."""
    lanes = list(scenario.lanes)
    if "remote" in needs:
        lanes.append(LaneUp("far", "remote", 1 << 40))
    if "memory" in needs:
        stages = {stage.digest for each in scenario.served for stage in each.stages}
        lanes = [replace(lane, memory_bytes=10 * max(1, len(stages) - 1)) for lane in lanes]
    facts = {**scenario.facts, "labels": 1.0} if "labels" in needs else scenario.facts
    return replace(scenario, lanes=tuple(lanes), facts=facts)


def crowd(draw: Any, needs: frozenset[str]) -> Scenario:
    """More requests than there is time for, on a box with what is needed."""
    fitting = [
        shape
        for shape in CROWDS
        if shape.variants >= (3 if "ensemble" in needs else 2 if "variants" in needs else 1)
        and (shape.lanes > 1 or "lanes" not in needs)
    ]
    shape = draw(st.sampled_from(fitting))
    scenario = furnished(drawn_scenario(draw, shape, spread_ms=60), needs)
    if shape.models == 2 and draw(st.booleans()):
        scenario = cascades(scenario, draw(st.lists(st.integers(0, 5), min_size=1, max_size=5)))
    return replace(scenario, seed=draw(st.integers(0, 99)), slowdown=draw(st.sampled_from([0.0, 0.02])))


def played(system: System, scenario: Scenario) -> Scores:
    """As the comparison of systems plays it."""
    bounds = ScenarioBounds(goodput_bound(scenario), weighted_bound(scenario))
    models = [each.variant.model for each in scenario.served]
    scenario = replace(scenario, answers=system.make_answers(scenario.answers, models))
    recorder, examiner = LaneTimeline(), examiner_of(scenario)
    observers = (recorder, *system.make_planners(), *([examiner] if examiner else []))
    world = play(scenario, system.make_policy(), system.make_estimator(), observers)
    return score(scenario, world, recorder, bounds)


@pytest.mark.parametrize("system", [pytest.param(each, id=name) for name, each in sorted(systems().items())])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_no_policy_exceeds_the_bound(system: System, data: Any) -> None:
    scenario = crowd(data.draw, system.needs())
    assume(not missing(system, scenario))  # as a stage that is a whole model leaves no memory to be short of
    scores = played(system, scenario)
    assert scores.bound is not None
    assert scores.accuracy is not None
    assert scores.accuracy_bound is not None
    assert scores.good <= goodput_bound(scenario)
    assert scores.accuracy <= scores.accuracy_bound
    assert scores.attainment_min <= fairest_bound(scenario, rounds=3)
