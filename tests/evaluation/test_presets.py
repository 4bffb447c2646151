"""The boxes that schedulers are compared on: their capacity, their loads, and what must not change by accident."""

from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from edge.core.events import LaneUp, Load
from edge.core.interfaces import Moment, Policy
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from edge.systems import system
from evaluation.arrivals.load_scaling import load_of
from evaluation.arrivals.request import Arrival, arrivals_of
from evaluation.bounds.goodput import goodput_bound
from evaluation.presets import EDGE4, PRESETS, Profile, capacity_rps, disb, edge4, edge4_memory, made, preset, traced
from evaluation.scenario import MS, Scenario, play
from porting.errors import UserError
from tests.evaluation.arrivals.trace_writer import text_of

TRACES = Path(__file__).parents[3] / "shared/data/traces"
needs_traces = pytest.mark.skipif(not TRACES.exists(), reason=f"{TRACES} is not there")
SECOND_NS = 1_000_000_000


def edf() -> Policy:
    return complete(EarliestDeadlineFirst(batch_max=32))


def goodput(scenario: Scenario, policy: Policy | None = None) -> tuple[float, float]:
    """Share of requests that are answered in time: of all, and of the model that fares worst."""
    due = {request.id: request for request in scenario.requests}
    replies = play(scenario, policy or edf(), Table(margin=1.06)).replies
    good = Counter(
        due[reply.request_id].app
        for time, reply in replies
        if reply.outcome == "ok" and time <= (due[reply.request_id].deadline_ns or 0)
    )
    offered = Counter(request.app for request in scenario.requests)
    return good.total() / offered.total(), min(good[app] / offered[app] for app in offered)


def test_the_capacity_of_edge4() -> None:
    assert round(capacity_rps()) == 548
    assert round(capacity_rps(margin=1.0)) == 585  # of a scheduler that knows every duration


def here(scenario: Scenario) -> list[LaneUp]:
    """Lanes that `load` counts: the others are there for what is too much."""
    return [lane for lane in scenario.lanes if lane.kind != "remote"]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("arrivals", ["poisson", "gamma4"])
def test_a_load_is_what_it_says(name: str, arrivals: str) -> None:
    found = [preset(name, 0.9, arrivals, seed) for seed in range(5)]
    loads = [load_of(arrivals_of(each.requests), each.served) / len(here(each)) for each in found]
    assert sum(loads) / 5 == pytest.approx(0.9, rel=0.05)
    assert [request.id for request in found[0].requests] == list(range(1, len(found[0].requests) + 1))
    assert found[0].facts.items() >= {"load": 0.9, "arrivals": arrivals, "seed": 0, "duration_s": 20.0}.items()


def test_the_mix_and_the_deadlines_of_edge4() -> None:
    requests = edge4(1.0, "poisson", 0, duration_s=60).requests
    counts = Counter(request.app for request in requests)
    for model, profile in EDGE4.items():
        assert counts[model] / counts.total() == pytest.approx(profile.share, rel=0.05)
        assert {(r.deadline_ns or 0) - r.arrived_ns for r in requests if r.app == model} == {profile.slo_ms * MS}


def test_the_same_seed_is_the_same_requests_to_the_byte() -> None:
    """A result is comparable with last year's as long as this holds."""
    content = text_of(arrivals_of(edge4(0.9, "gamma4", 3, duration_s=2).requests))
    assert sha256(content.encode()).hexdigest()[:16] == "ba12b0ac06613ecc"
    assert edge4(0.9, "gamma4", 3, 2).requests != edge4(0.9, "gamma4", 4, 2).requests


def test_kin_of_edge4_meet_the_same_requests() -> None:
    requests = edge4(0.9, "gamma4", 0).requests
    assert preset("edge4_variants", 0.9, "gamma4", 0).requests == requests
    assert preset("edge4_memory", 0.9, "gamma4", 0).requests == requests
    assert len(preset("two_lanes", 0.9, "gamma4", 0).requests) == pytest.approx(2 * len(requests), rel=0.1)


def test_a_small_load_is_served_whole_and_a_large_one_is_not() -> None:
    attained = [goodput(edge4(load, "poisson", 0, duration_s=10))[0] for load in (0.3, 0.7, 1.1, 1.5)]
    assert attained == sorted(attained, reverse=True)
    assert attained[0] > 0.99
    assert attained[-1] < 0.7


def test_bursts_hurt_where_the_load_would_fit() -> None:
    """At 0.7 Poisson leaves nearly nothing undone; clumps do."""
    smooth, bursty = (goodput(edge4(0.7, arrivals, 0))[0] for arrivals in ("poisson", "gamma4"))
    assert smooth > 0.98 > bursty > 0.85


def test_who_never_gives_up_collapses_beyond_the_capacity() -> None:
    """What is late already takes the time of all that come after it."""
    light, heavy = edge4(0.7, "poisson", 0), edge4(1.1, "poisson", 0)
    shares = {
        name: [goodput(each, system(name).make_policy())[0] for each in (light, heavy)] for name in ("fifo", "edf")
    }
    assert 0.9 < shares["fifo"][0] < shares["edf"][0]
    assert shares["fifo"][1] < 0.2 < 0.45 < shares["edf"][1] < 0.75
    assert 0.93 < goodput_bound(heavy) / len(heavy.requests) < 0.98


def test_variants_are_slower_where_they_are_more_often_right() -> None:
    for served in preset("edge4_variants", 0.5, "poisson", 0).served:
        assert served.variant.name == "medium"
        stages = {stage.digest: stage for stage in served.stages}
        family = [(v.accuracy, stages[v.stages[0]].durations_ns[8]) for v in (served.variant, *served.others)]
        assert len(family) == 3
        assert [took for _, took in sorted(family)] == sorted(took for _, took in family)
    (photo,) = preset("ensemble4", 0.5, "poisson", 0).served
    assert [variant.name for variant in (photo.variant, *photo.others)] == ["medium", "narrow", "dense", "wide"]


class Loads:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def observe(self, moment: Moment) -> tuple[()]:
        self.count += sum(isinstance(action, Load) for action in moment.actions)
        return ()


def test_where_memory_is_little_models_come_and_go() -> None:
    counts = []
    for scenario in (edge4(0.7, "gamma4", 0, duration_s=5), edge4_memory(0.7, "gamma4", 0, duration_s=5)):
        loads = Loads()
        play(scenario, edf(), Table(), (loads,))
        counts.append(loads.count)
    assert counts[0] == 4
    assert counts[1] > 20


def test_wrong_names_and_nothing_to_do() -> None:
    with pytest.raises(UserError, match="no preset is called 'edge5'; there is edge4, two_lanes"):
        preset("edge5", 0.9, "poisson", 0)
    with pytest.raises(UserError, match="no process is called 'fish'"):
        preset("edge4", 0.9, "fish", 0)
    for profiles, load, duration_s in (({}, 1.0, 20.0), (EDGE4, 0.0, 20.0), (EDGE4, 1.0, 0.0)):
        with pytest.raises(UserError, match="nothing to do"):
            made("box", profiles, (), load, "poisson", 0, duration_s, 1.06)


def test_a_file_with_names_on_a_box(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text_of(Arrival(at * 10 * MS, "gate", "mob", 50 * MS) for at in range(100)))
    as_it_is = traced(path, edge4(0.5, "poisson", 0, duration_s=1))
    assert [request.arrived_ns for request in as_it_is.requests] == [at * 10 * MS for at in range(100)]
    assert as_it_is.facts["load"] == pytest.approx(0.072, abs=0.001)
    denser = traced(path, edge4(0.5, "poisson", 0, duration_s=1), load=0.9)
    assert load_of(arrivals_of(denser.requests), denser.served) == pytest.approx(0.9, rel=0.01)


def test_a_file_of_background_work_alone_has_no_load(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text_of([Arrival(0, "gate", "mob", None)]))
    with pytest.raises(UserError, match="nothing in it has a deadline"):
        traced(path, edge4(0.5, "poisson", 0, duration_s=1), load=0.9)


@needs_traces
def test_a_file_without_names_is_dealt_out_as_the_box_is_asked() -> None:
    scenario = traced(TRACES / "azure-llm-conv.csv", edge4(0.5, "poisson", 0, duration_s=20), load=0.9)
    counts = Counter(request.app for request in scenario.requests)
    assert counts.total() == 19_366
    assert counts["mob"] / counts.total() == pytest.approx(0.45, abs=0.02)
    assert {(r.deadline_ns or 0) - r.arrived_ns for r in scenario.requests if r.app == "res"} == {80 * MS}
    assert "token counts are not used" in scenario.notes[0]
    assert load_of(arrivals_of(scenario.requests), scenario.served) == pytest.approx(0.9, rel=0.01)


@needs_traces
def test_a_drive_of_disb_at_a_load() -> None:
    scenario = disb(TRACES / "disb-real.json", 0.9)
    assert load_of(arrivals_of(scenario.requests), scenario.served) == pytest.approx(0.9, rel=0.01)
    assert {served.variant.model for served in scenario.served} == {
        "resnet152", "densenet201", "vgg19", "inceptionv3", "distilbert",
    }  # fmt: skip
    assert "in a closed loop" in scenario.notes[0]
    assert disb(TRACES / "disb-real.json", 0.9, seed=1).requests != scenario.requests
    shares = [goodput(disb(TRACES / "disb-real.json", load))[0] for load in (0.5, 0.9, 1.2)]
    assert shares[0] > 0.99 > shares[1] > shares[2]


@needs_traces
def test_a_drive_whose_deadlines_cannot_be() -> None:
    with pytest.raises(UserError, match="'vgg19' within 10 ms cannot be"):
        disb(TRACES / "disb-A.json", 0.9)
    assert disb(TRACES / "disb-A.json", 0.9, slo_ms=60).requests


def test_models_are_asked_for_by_their_shares() -> None:
    twice = {name: replace(profile, share=2 * profile.share) for name, profile in EDGE4.items()}
    assert capacity_rps(twice) == pytest.approx(capacity_rps())
    assert capacity_rps({"one": Profile(1, 0, 10, 1.0)}, margin=1.0) == pytest.approx(1000)


def test_the_box_far_away_meets_the_requests_of_edge4_at_its_own_pace() -> None:
    near, far = edge4(0.9, "poisson", 0, 2.0), preset("edge4_remote", 0.9, "poisson", 0, 2.0)
    assert far.requests == near.requests
    assert [lane.kind for lane in far.lanes] == ["simulated", "remote", "remote"]
    assert far.profile is not None
    (stage,) = far.served[0].stages
    here_ns, there_ns = (far.profile.duration_ns(stage, 8, lane) for lane in ("sim0", "cloud0"))
    assert there_ns == here_ns + 20 * MS == stage.durations_ns[8] + 20 * MS
