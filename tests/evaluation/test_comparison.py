"""Comparisons: the same requests for everybody, beside a bound; means over seeds, differences by pairs."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest

from edge.core.events import Action, LaneUp, Request, Run, Task, Time, WakeAt
from edge.core.state import State
from edge.plugins import PlugIn
from edge.systems import System, system
from evaluation.bounds.goodput import goodput_bound, weighted_bound
from evaluation.bounds.scenario_bounds import LAGRANGIAN, PREEMPTIVE
from evaluation.comparison import bounds_by_index, digest, outcomes
from evaluation.metrics.bootstrap import Interval
from evaluation.metrics.drilldown import STEPS, busiest_second
from evaluation.metrics.outcome import RunOutcome
from evaluation.metrics.summary import METRICS, SummaryRow, rows
from evaluation.presets import preset
from evaluation.scenario import MS, Scenario, affine

EDF, FIFO = system("edf"), system("fifo")
TABLE = PlugIn(use="edge.estimators.table:Table", margin=1.06)


def made(load: float = 0.7, seed: int = 0, name: str = "edge4", duration_s: float = 0.5) -> Scenario:
    return preset(name, load, "poisson", seed, duration_s)


def ran(*scenarios: Scenario, by: tuple[System, ...] = (EDF, FIFO), **more: Any) -> list[RunOutcome]:
    return list(outcomes(scenarios, by, TABLE, workers=1, **more))


@pytest.fixture(scope="module")
def compared() -> list[RunOutcome]:
    return ran(*(made(load, seed) for seed in (0, 1) for load in (0.7, 1.5)), near=(0,))


def row_of(found: list[SummaryRow], name: str, load: float) -> SummaryRow:
    return next(row for row in found if row.system == name and row.facts["load"] == load)


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_every_system_meets_every_scenario(compared: list[RunOutcome]):
    assert {(one.system, one.index) for one in compared} == {(name, i) for name in ("edf", "fifo") for i in range(4)}
    assert not any(one.trouble for one in compared)


def test_nobody_exceeds_the_bound(compared: list[RunOutcome]):
    for one in compared:
        assert one.scores is not None
        assert one.scores.bound is not None
        assert one.scores.goodput <= one.scores.bound


def test_the_quick_bounds_are_the_default_and_close_ones_are_handed_in():
    scenario = made(1.5)
    ((index, close),) = bounds_by_index([scenario], "close", workers=1)
    (quick_run,), (close_run,) = ran(scenario, by=(EDF,)), ran(scenario, by=(EDF,), bounds=[close])
    assert quick_run.scores is not None
    assert close_run.scores is not None
    assert (index, quick_run.scores.bound_method, close_run.scores.bound_method) == (0, PREEMPTIVE, LAGRANGIAN)
    assert quick_run.scores.attainment_min_bound is None
    assert close_run.scores.goodput <= (close_run.scores.bound or 0) < (quick_run.scores.bound or 0)
    assert close_run.scores.attainment_min <= (close_run.scores.attainment_min_bound or 0) < 1


def test_close_bounds_where_the_lagrangian_one_does_not_apply():
    scenario = made(1.5, name="edge4_variants")
    ((_, found),) = bounds_by_index([scenario], "close", workers=1)
    assert (found.good, found.accuracy, found.method) == (
        goodput_bound(scenario),
        weighted_bound(scenario),
        PREEMPTIVE,
    )


def test_two_processes_say_the_same_as_one():
    alone = ran(made())
    shared = sorted(outcomes([made()], [EDF, FIFO], TABLE, workers=2), key=lambda one: one.system)
    assert [timeless(one) for one in shared] == [timeless(one) for one in alone]


def timeless(outcome: RunOutcome) -> RunOutcome:
    """Without wall time."""
    assert outcome.scores is not None
    return replace(outcome, scores=replace(outcome.scores, decision_us_p50=None, decision_us_p99=None))


def test_the_estimator_is_the_same_for_all_unless_each_has_its_own():
    (common,) = ran(made(1.5), by=(EDF,))
    (own,) = outcomes([made(1.5)], [EDF], None, workers=1)
    assert common.scores != own.scores


@dataclass
class Stubborn:
    """Breaks a rule of the core: `fault` says which."""

    fault: str = "busy"
    seen: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def order(self, task: Task) -> tuple[Any, ...]:
        return (task.id,)

    def decide(self, state: State, now: Time) -> Action | None:
        if self.fault == "slip":
            raise KeyError("no such stage")
        if self.fault == "never settles":
            return WakeAt(state.wake_ns - 1) if now < state.wake_ns - 1 else None
        for stage, queue in state.queues.items():
            for lane in state.lanes.values():
                if lane.residency.holds(stage):
                    return Run(0, lane.name, (stage,), (queue[0][2],))
        return None


@pytest.mark.parametrize(("fault", "said"), [("busy", "is busy"), ("never settles", "never settles")])
def test_a_policy_that_breaks_a_rule_is_named_and_the_others_go_on(fault: str, said: str):
    bad = System(name="bad", policy=PlugIn(use=f"{__name__}:Stubborn", fault=fault))
    found = {one.system: one for one in ran(made(), by=(bad, EDF))}
    assert said in found["bad"].trouble
    assert f"Stubborn(fault='{fault}')" in found["bad"].trouble
    assert found["bad"].scores is None
    assert found["edf"].scores is not None
    assert {row.system for row in rows(found.values())} == {"edf"}


def test_a_slip_in_a_policy_costs_its_own_runs_alone():
    bad = System(name="bad", policy=PlugIn(use=f"{__name__}:Stubborn", fault="slip"))
    found = {one.system: one for one in ran(made(), by=(bad, EDF))}
    assert found["bad"].trouble == "KeyError: 'no such stage'"
    assert found["edf"].scores is not None


def test_who_is_right_is_told_where_variants_say_how_often_they_are():
    (plain,) = ran(made(), by=(EDF,))
    (one,) = ran(made(name="edge4_variants"), by=(EDF,))
    assert plain.right is None
    assert one.scores is not None
    assert one.right is not None
    assert 0.4 < one.right < one.scores.attainment
    assert one.scores.accuracy_bound is not None


# ---- close up --------------------------------------------------------------------------------------------------------


def test_a_close_up_is_made_of_the_asked_scenarios_alone(compared: list[RunOutcome]):
    assert {one.index for one in compared if one.drilldown is not None} == {0}


def test_a_close_up_shows_one_second(compared: list[RunOutcome]):
    near = compared[0].drilldown
    assert near is not None
    assert len(near.latency_ms) <= STEPS
    assert list(near.latency_ms) == sorted(near.latency_ms)
    assert {span.lane for span in near.spans} == {"sim0"}
    assert all(span.end_ms > 0 and span.begin_ms < 1000 and span.on_time <= span.batch for span in near.spans)
    ends = sorted((span.begin_ms, span.end_ms) for span in near.spans)
    assert all(before[1] <= after[0] for before, after in pairwise(ends))


def test_the_busiest_second_begins_with_a_burst():
    times_ms = [0, 500, 3000, 3100, 3200, 9000]
    requests = [Request(i, "m", "s", ms * MS, None) for i, ms in enumerate(times_ms, 1)]
    assert busiest_second(requests) == 3000 * MS
    assert busiest_second(requests[:1]) == 0


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_rows_are_means_over_seeds_the_best_first(compared: list[RunOutcome]):
    found = rows(compared, "fifo")
    assert [(row.facts["load"], row.seeds) for row in found] == [(0.7, (0, 1))] * 2 + [(1.5, (0, 1))] * 2
    for before, after in zip(found[::2], found[1::2], strict=True):
        assert (before["goodput"] or 0) >= (after["goodput"] or 0)
    row = row_of(found, "edf", 1.5)
    values = row.by_seed["goodput"]
    assert row["goodput"] == pytest.approx(sum(value or 0 for value in values) / 2)
    assert set(row.attainment_of) == {"bert", "mob", "res", "yolo"}
    assert {"goodput", "attainment", "attainment_min", "jain", "p99_ms", "wasted", "batch_mean"} <= set(METRICS)
    assert {"decision_us_p99", "bound", "headroom", "right"} <= set(METRICS)


def test_differences_are_of_the_same_requests(compared: list[RunOutcome]):
    found = rows(compared, "fifo")
    edf, fifo = row_of(found, "edf", 1.5), row_of(found, "fifo", 1.5)
    assert fifo.versus == {}
    pairs = zip(edf.by_seed["attainment"], fifo.by_seed["attainment"], strict=True)
    mean = sum((a or 0) - (b or 0) for a, b in pairs) / 2
    difference = edf.versus["attainment"]
    assert difference.mean == pytest.approx(mean)
    assert difference.low <= mean <= difference.high


def test_a_number_that_a_seed_lacks_is_left_out_for_all(compared: list[RunOutcome]):
    first = compared[0]
    assert first.scores is not None
    mute = replace(first, scores=replace(first.scores, p99_ms=None))
    found = row_of(rows([mute, *compared[1:]]), first.system, first.facts["load"])
    assert found["p99_ms"] is None
    assert found.numbers["goodput"] is not None
    assert "p99_ms" not in found.versus


def test_without_the_baseline_there_is_nothing_to_compare_with(compared: list[RunOutcome]):
    assert all(row.versus == {} for row in rows(compared, "nobody"))


def test_one_seed_has_no_spread():
    (row,) = rows(ran(made(), by=(EDF,)))
    goodput = row["goodput"]
    assert goodput is not None
    assert row.numbers["goodput"] == Interval(goodput, goodput, goodput)


# ---- the same requests -----------------------------------------------------------------------------------------------


def test_the_digest_tells_requests_apart():
    assert digest(made()) == digest(made())
    assert digest(made()) != digest(made(seed=1))
    later = replace(made(), lanes=(LaneUp("other", "simulated", 1 << 40),), served=(affine("m", 1, 1),))
    assert digest(later) == digest(made())
