"""So many cameras before a box that takes what it is said to take: golden numbers by hand."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.core.events import Task
from edge.systems import system
from evaluation.capacity.search import REPAIR, SampledDetections, attempt, cope, scenario_of
from porting.errors import UserError
from tests.edge.daemon_builder import CASCADE
from tests.evaluation.capacity.plan_builder import COLOUR, ITEM_MS, MS, question, tried


def test_below_the_capacity_all_is_in_time(box: Path) -> None:
    coping = cope(question(box), 16)
    assert (coping.attainment, coping.worst_attainment, coping.first_miss) == (1.0, 1.0, None)
    assert coping.load == pytest.approx(0.8, abs=0.01)
    assert coping.busy == pytest.approx(0.8, abs=0.02)
    assert coping.p50_ms is not None
    assert 10 <= coping.p50_ms < 40
    assert coping.holds(1.0)


def test_beyond_it_the_lane_decides_how_many(box: Path) -> None:
    coping = cope(question(box), 40)
    assert coping.load == pytest.approx(2.0, abs=0.02)
    assert 0.35 < coping.attainment < 0.55
    assert coping.worst_attainment <= coping.attainment
    assert coping.busy > 0.95
    assert coping.first_miss_s is not None
    assert 0 <= coping.first_miss_s < 2
    assert coping.first_miss is not None
    assert not coping.holds(0.99)


@pytest.mark.parametrize(
    ("changes", "cameras"),
    [({"faster": 0.5}, 32), ({"lanes": 2}, 32), ({"fps": 2.5}, 32), ({}, 16)],
)
def test_what_helps_helps_as_much_as_it_should(changes: dict[str, Any], cameras: int, box: Path) -> None:
    asked = replace(question(box), **changes)
    assert cope(asked, cameras).load == pytest.approx(0.8, abs=0.01)
    assert cope(asked, cameras).attainment == 1.0
    assert cope(asked, 2 * cameras).attainment < 0.8


def test_a_longer_deadline_keeps_what_a_short_one_drops(box: Path) -> None:
    asked = replace(question(box), arrivals="poisson", more_waiting=8)
    short, long = cope(replace(asked, slo=0.25), 16), cope(replace(asked, slo=4.0), 16)
    assert short.attainment < 0.95 < long.attainment


@pytest.mark.parametrize("cameras", [10, 18, 19, 20, 21, 22, 40])
@pytest.mark.parametrize("seeds", [1, 2])
def test_who_stops_early_comes_to_the_same(cameras: int, seeds: int, box: Path) -> None:
    asked = replace(question(box), seeds=seeds)
    whole, early = cope(asked, cameras), attempt(asked, cameras, 0.95)
    assert (early is not None) == whole.holds(0.95)
    assert early is None or early == whole


def test_an_answer_counts_when_it_is_told(box: Path) -> None:
    asked = question(box)
    assert asked.dry_run is not None
    slowly = replace(asked, dry_run=replace(asked.dry_run, telling_ns=25 * MS))
    before, now = cope(asked, 16), cope(slowly, 16)
    assert before.p50_ms is not None
    assert now.p50_ms == pytest.approx(before.p50_ms + 25)
    assert (now.load, now.busy, now.attainment) == (before.load, before.busy, 1.0)
    never = replace(asked, dry_run=replace(asked.dry_run, telling_ns=195 * MS))
    assert cope(never, 16).attainment == 0.0


def test_a_repair_costs_time_that_no_frame_wants(box: Path) -> None:
    before = cope(question(box), 4)
    drifting = question(box, drift={"models": ["paint"]}, background={"share": 0.5, "step_ms": 10})
    scenario = scenario_of(drifting, 4, 0)
    assert Counter(request.app for request in scenario.requests).keys() == {REPAIR, "colour"}
    assert [request.id for request in scenario.requests] == list(range(1, len(scenario.requests) + 1))
    now = cope(drifting, 4)
    assert before.p99_ms is not None
    assert now.p99_ms is not None
    assert before.p99_ms < now.p99_ms <= before.p99_ms + 2 * 10
    assert now.attainment == before.attainment == 1.0
    assert now.busy == pytest.approx(before.busy, abs=0.01)
    assert now.worst.startswith("camera-")


def test_the_box_need_not_be_here(box: Path) -> None:
    far = {"dla0": {"use": "devices.nowhere:Far", "memory_mb": 64}}
    elsewhere = tried(box, {"paint": ITEM_MS}, lanes=2, kind="far")
    scenario = scenario_of(question(box, elsewhere, devices=far), 4, 0)
    assert [(lane.lane, lane.kind) for lane in scenario.lanes] == [("dev0.0", "far"), ("dev1.0", "far")]
    assert scenario.facts["load"] == pytest.approx(0.1, abs=0.01)
    first = scenario.served[0].stages[0]
    assert first.durations_ns[1] == ITEM_MS * MS
    assert scenario.profile is not None
    assert scenario.profile.duration_ns(first, 1, "dev1.0") == ITEM_MS * MS


def test_without_a_rehearsal_the_repository_is_asked(box: Path) -> None:
    asked = replace(question(box), dry_run=None)
    coping = cope(asked, 2)
    assert coping.holds(1.0)
    assert 0 < coping.load < 1
    with pytest.raises(UserError, match="not measured on 'nosuch'; measured on: cpu"):
        cope(replace(asked, device="nosuch"), 2)


def test_what_other_models_took_says_nothing(box: Path) -> None:
    with pytest.raises(UserError, match="other models than paint as they serve now"):
        scenario_of(question(box, tried(box, {"cells": 5.0})), 1, 0)


def test_a_deadline_that_nothing_can_keep_is_refused(box: Path) -> None:
    hopeless = question(box, apps={"colour": {**COLOUR, "slo_ms": 5}})
    with pytest.raises(UserError, match="colour: its SLO of 5 ms is shorter than its fastest run of 10 ms"):
        cope(hopeless, 1)


def test_cameras_with_names_count(box: Path) -> None:
    streams = {"*": {"apps": ["colour"]}, "north": {"apps": ["colour"]}, "off": {"apps": ["colour"], "enabled": False}}
    asked = question(box, streams=streams)
    assert (asked.named, asked.others) == (1, True)
    names = {request.stream for request in scenario_of(asked, 3, 0).requests}
    assert names == {"north", "camera-0", "camera-1"}
    alone = question(box, streams={"north": {"apps": ["colour"]}})
    assert (alone.named, alone.others) == (1, False)


def test_another_system_is_another_policy(box: Path) -> None:
    asked = question(box)
    fifo = cope(replace(asked, system=system("fifo")), 40)
    assert fifo.attainment < cope(asked, 40).attainment


def test_frames_find_what_some_frame_found(box: Path) -> None:
    found = {"cells": ({"vehicle": 3}, {"person": 1}, {})}
    ms = {"cells": 2.0, "paint": 1.0, "tint": 1.0}
    asked = question(box, tried(box, ms, detections=found), apps={"look": CASCADE}, streams={"*": {"apps": ["look"]}})
    scenario = scenario_of(asked, 2, 0)
    assert isinstance(scenario.detections, SampledDetections)
    assert scenario.facts["load"] == pytest.approx(2 * 5 * (2 + 4 / 3) / 1000, rel=0.1)
    drawn = [scenario.detections(Task(n, n, "cells", (), 0, 0, None)) for n in range(300)]
    assert {tuple(each) for each in drawn} == {("vehicle",), ("person",), ()}
    assert 70 < sum(each == {} for each in drawn) < 130
