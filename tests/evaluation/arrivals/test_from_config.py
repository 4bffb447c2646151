"""The box of an edge.yaml in virtual time: its models as measured, its cameras, its deadlines."""

import json
from collections import Counter
from pathlib import Path

import pytest

from devices.traits import Traits
from edge.answers.cascade import Cascade
from edge.config import load as load_config
from edge.core.events import LaneUp
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.arrivals.from_config import START_NS, Cameras, from_config, lanes_of
from evaluation.scenario import MS, play
from porting.errors import UserError
from porting.repository.repository import Repository
from tests.edge.daemon_builder import CASCADE, edge

TWO_APPS = {
    "apps": {"junction": CASCADE, "colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 500}},
    "streams": {"*": {"apps": ["junction"], "waiting_max": 2}, "gate": {"apps": ["junction", "colour"]}},
}


def test_every_frame_asks_for_every_app_of_its_stream(box: Path) -> None:
    scenario = from_config(edge(box, **TWO_APPS), Cameras(count=3, fps=10), duration_s=5)
    counts = Counter((request.stream, request.app) for request in scenario.requests)
    assert counts == {
        ("gate", "junction"): 50,
        ("gate", "colour"): 50,
        **{(f"camera-{number}", "junction"): 50 for number in range(3)},
    }
    slos = {request.app: (request.deadline_ns or 0) - request.arrived_ns for request in scenario.requests}
    assert slos == {"junction": 5000 * MS, "colour": 500 * MS}
    assert scenario.waiting_max == {"gate": 1, "camera-0": 2, "camera-1": 2, "camera-2": 2}
    assert min(request.arrived_ns for request in scenario.requests) >= START_NS


def test_models_and_durations_are_the_repository_s(box: Path) -> None:
    scenario = from_config(edge(box, **TWO_APPS))
    assert [served.variant.model for served in scenario.served] == ["paint", "cells", "tint"]
    assert scenario.lanes == (LaneUp("cpu0", "cpu", 1 << 30),)
    assert scenario.answers["junction"] == Cascade("cells", {"vehicle": "paint", "person": "tint"})
    profile = scenario.profile
    assert profile is not None
    for served in scenario.served:
        for stage in served.stages:
            for batch in stage.batches:  # the table holds the p99, the floor lies below the median
                assert profile.duration_ns(stage, batch, "cpu0") <= stage.durations_ns[batch]
    assert 0 < scenario.facts["load"] < 1


def test_it_can_be_played_and_a_frame_finds_so_much_in_the_mean(box: Path) -> None:
    cameras = Cameras(count=2, fps=10, detections={"vehicle": 2.0})
    scenario = from_config(edge(box, **TWO_APPS), cameras, duration_s=20)
    world = play(scenario, complete(EarliestDeadlineFirst()), Table())
    tasks = [
        len(reply.tasks)
        for _, reply in world.replies
        if reply.outcome == "ok" and scenario.requests[reply.request_id - 1].app == "junction"
    ]
    assert len(tasks) > 0.9 * 3 * 200
    assert sum(tasks) / len(tasks) == pytest.approx(3.0, abs=0.25)  # the frame, two vehicles and nobody


def test_more_cameras_are_more_load(box: Path) -> None:
    path = edge(box, **TWO_APPS)
    loads = [from_config(path, Cameras(count=count), duration_s=10).facts["load"] for count in (0, 4, 8)]
    assert loads[2] - loads[1] == pytest.approx(loads[1] - loads[0], rel=0.1)
    assert from_config(path, Cameras(fps=20), duration_s=10).facts["load"] == pytest.approx(2 * loads[1], rel=0.05)


def test_cameras_depend_on_the_seed_and_not_on_each_other(box: Path) -> None:
    path = edge(box, **TWO_APPS)

    def times(count: int, seed: int) -> list[int]:
        requests = from_config(path, Cameras(count=count), seed, duration_s=2).requests
        return [request.arrived_ns for request in requests if request.stream == "camera-1"]

    assert times(2, 0) == times(5, 0) != times(2, 1)


def test_what_a_frame_costs_beside_its_graphs_is_no_one_s_but_the_first_stage_s(box: Path) -> None:
    plain, dear = (from_config(edge(box, **TWO_APPS), frame_ms=ms) for ms in (0.0, 3.0))
    for served in plain.served:
        for at, stage in enumerate(served.stages):
            assert plain.profile is not None and dear.profile is not None  # noqa: PT018
            more = dear.profile.duration_ns(stage, 2, "cpu0") - plain.profile.duration_ns(stage, 2, "cpu0")
            assert more == (6 * MS if at == 0 else 0)


def measured_on(box: Path, device: str, times: float) -> None:
    """As if every model had been profiled on another device as well."""
    repository = Repository(box / "repository")
    for model in repository.models():
        name = str(repository.serving(model))
        profile = json.loads(json.dumps(repository.profile(model, name, "cpu")))
        for table in profile["graphs"].values():
            for row in table["batches"].values():
                row.update({key: round(row[key] * times) for key in ("p50_ns", "p99_ns", "mean_ns")})
        repository.add_profile(model, name, device, profile)


def test_another_device_with_what_was_measured_there(box: Path) -> None:
    path = edge(box, devices={"cpu0": {"use": "devices.cpu:Cpu", "memory_mb": 64}}, **TWO_APPS)
    measured_on(box, "orin", 5.0)
    here, there = (from_config(path, device=device, duration_s=5) for device in ("this", "orin"))
    assert there.lanes == (LaneUp("cpu0", "orin", 64 << 20),)
    assert there.facts["load"] == pytest.approx(5 * here.facts["load"], rel=0.02)


def test_a_profile_that_falls_is_told_and_levelled_up(box: Path) -> None:
    repository = Repository(box / "repository")
    name = str(repository.serving("tint"))
    profile = json.loads(json.dumps(repository.profile("tint", name, "cpu")))
    for table in profile["graphs"].values():
        for batch, row in table["batches"].items():
            row.update(p50_ns=900_000, p99_ns=2_000_000 if batch == "1" else 1_000_000)
    repository.add_profile("tint", name, "cpu", profile)
    notes = from_config(edge(box, **TWO_APPS)).notes
    assert [
        note for note in notes if note.startswith("tint: a batch of 2 is measured to take 1.00 ms, one of 1 takes 2")
    ]


def test_a_device_that_nobody_measured(box: Path) -> None:
    with pytest.raises(UserError, match=r"paint/.*: not measured on 'moon'; measured on: cpu"):
        from_config(edge(box, **TWO_APPS), device="moon")


def test_a_deadline_that_cannot_be(box: Path) -> None:
    app = {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 1e-4}
    with pytest.raises(UserError, match=r"colour: its SLO of 0\.0001 ms is shorter"):
        from_config(edge(box, apps={"colour": app}))


def test_a_box_without_cameras(box: Path) -> None:
    path = edge(box, streams={"gate": {"apps": ["colour"], "enabled": False}})
    with pytest.raises(UserError, match="streams: none that is enabled"):
        from_config(path)
    with pytest.raises(UserError, match="streams: none that is enabled"):
        from_config(edge(box), Cameras(count=0))


def test_a_lane_is_what_its_device_says(box: Path) -> None:
    far = {"use": "devices.remote:Remote", "url": "http://127.0.0.1:1", "price_per_request": 0.25, "overhead_ms": 2.0}
    config = load_config(edge(box, **TWO_APPS, devices={"cpu0": {"use": "devices.cpu:Cpu"}, "cloud": far}))
    cloud, near = lanes_of(config, "this")
    assert near == LaneUp("cpu0", "cpu", 1 << 30)
    assert cloud.traits == Traits(remote=True, price_per_request=0.25, overhead_ms=2.0)
