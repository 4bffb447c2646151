"""What a box takes, found out by letting it serve: batches of every size, what was found, and the way to a file."""

from pathlib import Path

import pytest

from devices.traits import Traits
from edge.config import load as load_config
from edge.core.events import LaneUp, Request
from evaluation.arrivals.recording import Recording
from evaluation.capacity.dry_run import RUNS_MIN, SLO_MS, DryRun, connected, dry_run, durations_of, load, quiet
from evaluation.capacity.load_generator import FREE
from porting.errors import UserError
from porting.repository.repository import Repository
from tests.edge.daemon_builder import CASCADE, edge, jpeg

LOOKING = {"apps": {"look": CASCADE}, "streams": {"*": {"apps": ["look"], "waiting_max": 1}}}
FRAMES = [jpeg("red", "blue", "black", "black"), jpeg("red", "green", "black", "black")]
KNOWN = DryRun(
    (LaneUp("cpu0", "cpu", 1 << 30), LaneUp("cpu1", "cpu", 1 << 30, Traits(remote=True, price_per_request=0.5))),
    {("g", 1, "cpu0"): (10, 20, 30), ("g", 1, "cpu1"): (40, 40), ("g", 2, "cpu0"): (50,)},
    {"cells": ({"vehicle": 2}, {"vehicle": 1, "person": 1}, {})},
    frames=3,
    duration_s=1.5,
    telling_ns=7,
)


@pytest.mark.parametrize("network", [True, False])
def test_every_graph_is_timed_in_several_batches(network: bool, box: Path) -> None:
    shares: list[float] = []
    found = dry_run(load_config(edge(box, **LOOKING)), FRAMES, 1.5, shares.append, network)
    repository = Repository(box / "repository")
    graphs = {
        stage.graph
        for model in ("cells", "paint", "tint")
        for stage in repository.stages(repository.variant(model, str(repository.serving(model))), "cpu")
    }
    assert {graph for graph, _, _ in found.durations_ns} == graphs
    assert {batch for _, batch, _ in found.durations_ns} >= {1, 2, 4}
    assert all(took_ns == tuple(sorted(took_ns)) and took_ns[0] > 0 for took_ns in found.durations_ns.values())
    assert found.means() == pytest.approx({"vehicle": 1.5, "person": 0.5}, abs=0.2)
    assert [lane.lane for lane in found.lanes] == ["cpu0"]
    assert (found.duration_s, shares[-1]) == (1.5, 1.0)
    assert 0 < found.telling_ns < 100_000_000


def test_a_frame_with_two_apps_is_one_frame(box: Path) -> None:
    both = {"look": CASCADE, "colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 500}}
    found = dry_run(load_config(edge(box, apps=both, streams={"*": {"apps": ["look"]}})), FRAMES, 1.0)
    looked, coloured = (len(found.detections["cells"]), found.frames - len(found.detections["cells"]))
    assert abs(looked - coloured) <= max(16, found.frames // 5)  # those on their way at the end; more on a busy machine


def test_nothing_is_dropped_and_nothing_is_written(box: Path) -> None:
    config = load_config(edge(box, **LOOKING, cache_mb=1, trace="t.jsonl", journal="j.jsonl", system="clockwork"))
    made = quiet(config)
    assert {app.slo_ms for app in made.apps.values()} == {SLO_MS}
    assert (made.trace, made.journal, made.http, made.cache_mb, made.planners) == (None, None, None, 0, ())
    assert made.policy.use == "edge.policies.edf:EarliestDeadlineFirst"
    assert made.streams.keys() == {"*"}
    assert made.devices == config.devices


def test_what_cannot_be_served_is_one_line(box: Path) -> None:
    with pytest.raises(UserError, match=r"0 frames answered in 0\.2 s \(.+\); give other pictures"):
        dry_run(load_config(edge(box)), [b"no picture"], 0.2)


def test_pictures_that_the_network_keeps_out_are_told_beforehand(box: Path) -> None:
    config = load_config(edge(box, mqtt={"frame_bytes_max": 1024}))
    with pytest.raises(UserError, match=r"a picture of 2000 bytes: mqtt\.frame_bytes_max lets 1024 in"):
        dry_run(config, [bytes(2000)], 0.2)


def test_only_the_stand_in_is_connected_to(box: Path) -> None:
    table = {"host": "nas", "port": 8883, "prefix": "home", "node": "gate", "username": "me", "password": "secret"}
    settings = connected(load_config(edge(box, mqtt=table)), 1234).mqtt
    assert (settings.host, settings.port, settings.protocol) == ("127.0.0.1", 1234, "5")
    assert (settings.username, settings.password, settings.tls) == (None, None, None)
    assert settings.topics.base == "home/gate"


@pytest.mark.parametrize(("runs", "kept"), [(RUNS_MIN, (2,) * RUNS_MIN), (3, (1, 1, 2, 2, 2))])
def test_the_full_day_counts_where_it_says_enough(runs: int, kept: tuple[int, ...]) -> None:
    recording = Recording()
    recording.requests += [Request(1, "look", "camera-1", 0), Request(2, "look", f"{FREE}0", 100)]
    recording.took_ns["g", 1, "cpu0"] = [1, 1, *[2] * runs]
    recording.ended_ns["g", 1, "cpu0"] = [10, 90, *range(100, 100 + runs)]
    assert durations_of(recording) == {("g", 1, "cpu0"): kept}


def test_means_and_high_quantiles_by_graph_of_the_slowest_lane() -> None:
    assert KNOWN.means_ns() == {"g": {1: 40, 2: 50}}
    assert KNOWN.p99s_ns() == {"g": {1: 40, 2: 50}}
    assert KNOWN.means() == {"person": pytest.approx(1 / 3), "vehicle": 1.0}


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    KNOWN.save(tmp_path / "known.json")
    assert load(tmp_path / "known.json") == KNOWN


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory; give a file that `leeway plan --save` wrote"),
        ("[]", "not what `leeway plan --save` writes"),
        ('{"lanes": 1}', "not what `leeway plan --save` writes"),
        ("{", "not what `leeway plan --save` writes"),
    ],
)
def test_a_file_of_something_else_is_one_line(content: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=said):
        load(path)


def test_a_place_where_nothing_can_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory"):
        KNOWN.save(tmp_path / "no" / "known.json")
