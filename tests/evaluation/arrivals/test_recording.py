"""What a daemon wrote down, played again: the same policy comes to the same, another one may not."""

import json
from collections import Counter
from pathlib import Path

import pytest

from edge.answers.cascade import Cascade
from edge.config import load
from edge.core.events import Request
from edge.core.interfaces import Policy
from edge.core.simulation import SimulatedWorld
from edge.estimators.table import Table
from edge.observers.trace import Trace
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from evaluation.arrivals.recording import read, scenario_of
from evaluation.presets import edge4
from evaluation.scenario import MS, Scenario, affine, play
from evaluation.synthetic import ALL_FAULTS, ANSWERS, cameras, models, simulate
from porting.errors import UserError
from tests.edge.daemon_builder import CASCADE, Daemon, edge, jpeg, within

BEGAN_NS = 7_000_000_000_000  # a monotonic clock begins anywhere


def recorded(scenario: Scenario, path: Path, policy: Policy | None = None) -> SimulatedWorld:
    with Trace(path) as trace:
        return play(scenario, policy or edf(), Table(), (trace,))


def edf() -> Policy:
    return complete(EarliestDeadlineFirst(batch_max=32))


def attainment(world: SimulatedWorld) -> float:
    due = {request.id: request.deadline_ns for request in world.requests if request.deadline_ns is not None}
    good = [reply for time, reply in world.replies if reply.outcome == "ok" and time <= due.get(reply.request_id, -1)]
    return len(good) / len(due)


@pytest.mark.parametrize("load", [0.7, 1.1])
def test_the_same_policy_comes_to_the_same(tmp_path: Path, load: float) -> None:
    world = recorded(edge4(load, "gamma4", 0, duration_s=10), tmp_path / "trace.jsonl")
    again = scenario_of(tmp_path / "trace.jsonl")
    assert [(r.app, r.arrived_ns, r.deadline_ns) for r in again.requests] == [
        (r.app, r.arrived_ns, r.deadline_ns) for r in world.requests
    ]
    assert attainment(play(again, edf(), Table())) == pytest.approx(attainment(world), abs=0.02)
    assert again.facts["load"] == pytest.approx(load, rel=0.15)
    assert again.notes == ()


def test_without_noise_it_is_the_very_same(tmp_path: Path) -> None:
    steady = edge4(0.9, "poisson", 1, duration_s=5)
    steady = Scenario(steady.name, steady.served, steady.requests, slowdown=0)
    world = recorded(steady, tmp_path / "trace.jsonl")
    again = play(scenario_of(tmp_path / "trace.jsonl"), edf(), Table())
    assert again.replies == world.replies


def test_another_policy_is_another_world(tmp_path: Path) -> None:
    recorded(edge4(0.9, "gamma4", 0, duration_s=10), tmp_path / "trace.jsonl")
    again = scenario_of(tmp_path / "trace.jsonl")
    assert attainment(play(again, complete(Fifo()), Table())) < attainment(play(again, edf(), Table())) - 0.1


JUNCTION = {"junction": Cascade("detector", {"car": "cars"})}


def junction(detections: object = None) -> Scenario:
    frames = tuple(
        Request(n, "junction", f"gate-{n % 2}", n * 10 * MS, n * 10 * MS + 60 * MS, priority=n % 3)
        for n in range(1, 200)
    )
    served = (affine("detector", 3, 1), affine("cars", 1, 1))
    chosen = detections or (lambda task: {"car": task.request % 4} if task.parent is None else {})
    return Scenario("junction", served, frames, JUNCTION, detections=chosen)  # type: ignore[arg-type]


def test_frames_find_what_they_found(tmp_path: Path) -> None:
    world = recorded(junction(), tmp_path / "trace.jsonl")
    again = scenario_of(tmp_path / "trace.jsonl", JUNCTION)
    assert [request.priority for request in again.requests] == [request.priority for request in world.requests]
    answered = {reply.request_id: len(reply.tasks) for _, reply in world.replies if reply.outcome == "ok"}
    assert answered
    tasks = {r.request_id: len(r.tasks) for _, r in play(again, edf(), Table()).replies if r.outcome == "ok"}
    assert {number: tasks[number] for number in answered if number in tasks} == {
        number: count for number, count in answered.items() if number in tasks
    }
    assert again.facts["load"] == pytest.approx(0.55, abs=0.1)


def test_a_frame_that_was_dropped_finds_what_its_camera_saw_last(tmp_path: Path) -> None:
    busy = junction(lambda task: {"car": 16} if task.parent is None else {})
    world = recorded(busy, tmp_path / "trace.jsonl")
    dropped = {reply.request_id for _, reply in world.replies if reply.outcome != "ok"}
    first = min(reply.request_id for _, reply in world.replies if reply.outcome == "ok")
    again = scenario_of(tmp_path / "trace.jsonl", JUNCTION)
    after = [number for number in dropped if number > first + 1]
    assert after
    assert all(again.detections.found[number] == {"detector": {"car": 16}} for number in after)  # type: ignore[union-attr]


def test_times_count_from_the_first_line(tmp_path: Path) -> None:
    recorded(edge4(0.3, "poisson", 0, duration_s=1), tmp_path / "trace.jsonl")
    text = (tmp_path / "trace.jsonl").read_text().splitlines()
    late = tmp_path / "late.jsonl"
    late.write_text("\n".join(map(shifted, text)) + "\n")
    assert scenario_of(late).requests == scenario_of(tmp_path / "trace.jsonl").requests


def shifted(line: str) -> str:
    table = json.loads(line)
    table["now"] += BEGAN_NS
    kind, event = table["event"]
    if kind == "Arrived":
        event["request"]["arrived_ns"] += BEGAN_NS
        event["request"]["deadline_ns"] += BEGAN_NS
    return json.dumps(table)


def test_a_whole_junction_with_all_faults(tmp_path: Path) -> None:
    """Promotions, lost lanes, background work, withdrawn frames: noted, and played without."""
    with Trace(tmp_path / "trace.jsonl") as trace:
        simulate(3, requests=200, faults=ALL_FAULTS, observers=(trace,))
    alone = scenario_of(tmp_path / "trace.jsonl", {"junction": ANSWERS["junction"]})
    said = " ".join(alone.notes)
    assert "promotions are not replayed" in said
    assert "requests without a deadline are left out" in said
    assert "gave way to newer ones" in said
    assert all(request.deadline_ns is not None for request in alone.requests)
    assert {each.variant.model for each in alone.served} == {each.variant.model for each in models()[:4]}
    world = play(alone, edf(), Table())
    assert len(world.replies) == len(alone.requests)
    more = scenario_of(tmp_path / "trace.jsonl", {"junction": ANSWERS["junction"]}, background=True)
    taught = sum(request.app == "teacher" for request in cameras(3, 200))
    assert sum(request.deadline_ns is None for request in more.requests) == taught


def test_an_app_that_is_no_model_needs_its_answer(tmp_path: Path) -> None:
    recorded(junction(), tmp_path / "trace.jsonl")
    with pytest.raises(UserError, match="app 'junction' is no model; give the config"):
        scenario_of(tmp_path / "trace.jsonl")


def test_a_last_line_that_was_cut_off_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    recorded(edge4(0.3, "poisson", 0, duration_s=1), path)
    path.write_text(path.read_text()[:-30])
    assert scenario_of(path).notes == ("1 x the last line was cut off",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no lane came up"),
        ("hello\nhello\n", ":1: no line of a trace"),
        ('{"now": 1, "event": ["Woke", {}], "actions": []}\n[]\n{}\n', ":2: no line of a trace"),
    ],
)
def test_what_is_no_trace(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        scenario_of(path)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "nowhere")
    (tmp_path / "picture").write_bytes(b"\xff\xd8\n")
    with pytest.raises(UserError, match="no text"):
        read(tmp_path / "picture")


def test_what_a_real_daemon_wrote(box: Path) -> None:
    """Real lanes, a real clock: whatever it came to, its requests can be played again."""
    apps = {"junction": CASCADE, "colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 5000}}
    streams = {"*": {"apps": ["junction", "colour"], "waiting_max": 32}}
    path = edge(box, trace="trace.jsonl", apps=apps, streams=streams)
    with Daemon(path) as daemon:
        for frame in range(10):
            daemon.send(jpeg("red", "blue", "black", "black"))
            assert within(lambda asked=2 * (frame + 1): len(daemon.results) == asked)
    answers = {name: app.build() for name, app in load(path).apps.items()}
    again = scenario_of(box / "trace.jsonl", answers)
    assert Counter(request.app for request in again.requests) == {"junction": 10, "colour": 10}
    assert again.lanes[0].kind == "cpu"
    world = play(again, edf(), Table())
    assert {reply.outcome for _, reply in world.replies} == {"ok"}
    tasks = [len(r.tasks) for _, r in world.replies if again.requests[r.request_id - 1].app == "junction"]
    assert tasks == [3] * 10
