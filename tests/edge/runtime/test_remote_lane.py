"""Two daemons: one has a lane on the other. Answers are the same, and a peer that dies costs nobody an answer."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.core.events import Run, Served
from porting.repository.repository import Repository
from tests.conftest import eventually
from tests.devices.peer import Peer
from tests.edge.daemon_builder import CASCADE, Daemon, add_up, edge, jpeg, swapped, within

COLOURS = ("red", "green", "blue")
JUNCTION = {"apps": {"junction": CASCADE}, "streams": {"*": {"apps": ["junction"], "waiting_max": 32}}}


def peer(box: Path) -> Daemon:
    folder = box / "peer"
    folder.mkdir()
    (folder / "repository").symlink_to(box / "repository")
    return Daemon(edge(folder, http={"port": 0}, mqtt={"port": 1, "node": "peer"}, apps={
        "colour": {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 5000}, "junction": CASCADE,
    }))  # fmt: skip


def url(daemon: Daemon) -> str:
    assert within(lambda: daemon.http.ready())
    return f"http://127.0.0.1:{daemon.http.port}"


def cloud(address: str, **options: object) -> dict[str, object]:
    return {"use": "devices.remote:Remote", "url": address, "timeout_ms": 3000, **options}


CPU = {"use": "devices.cpu:Cpu"}


def lanes_of(daemon: Daemon) -> set[str]:
    return {run.lane for run in daemon.runs if isinstance(run, Run)}


def ready(daemon: Daemon, lane: str, *models: str) -> bool:
    """Is all that serves these models on the lane?"""
    state = daemon.parts.scheduler.state
    known, serving = state.lanes.get(lane), [state.models[model].serving for model in models if model in state.models]
    if known is None or len(serving) < len(models):
        return False
    return all(known.residency.holds(digest) for variant in serving for digest in variant.stages)


# ---- the same answers


def test_a_whole_cascade_far_away_says_what_it_says_here(box):
    """Detector, crops, classifiers whose heads are sent along: every stage runs on the peer."""
    frames = [jpeg("red", "green", "blue", "black"), jpeg("blue"), jpeg("black")]
    with peer(box) as there, Daemon(edge(box, devices={"cloud": cloud(url(there))}, **JUNCTION)) as here:
        assert within(lambda: ready(here, "cloud", "cells", "paint", "tint"))
        far = [here.answered(frame)["objects"] for frame in frames]
        assert lanes_of(here) == {"cloud"}
        asked = there.parts.metrics.snapshot(0)["streams"]
    with Daemon(edge(box, **JUNCTION)) as here:
        near = [here.answered(frame)["objects"] for frame in frames]
    assert far == near
    assert {"http/cells/0", "http/paint/0", "http/tint/0"} <= set(asked)


def test_a_head_that_was_promoted_here_only_is_used_there_at_once(box):
    """The peer goes on with its own; the new one travels with each call."""
    with peer(box) as there, Daemon(edge(box, devices={"cloud": cloud(url(there)), "cpu0": CPU})) as here:
        assert within(lambda: ready(here, "cloud", "paint"))
        repository = Repository(box / "repository")
        name = swapped(repository)
        variant = repository.variant("paint", name)
        here.parts.world.post(Served(variant, repository.stages(variant, "cpu")))
        assert within(lambda: here.parts.scheduler.state.models["paint"].serving.name == name)
        assert within(lambda: ready(here, "cloud", "paint"))
        assert here.answered(jpeg("red"))["objects"][0]["label"] == "blue"
        assert lanes_of(here) == {"cloud"}
        assert there.parts.scheduler.state.models["paint"].serving.name == "fp32"


def test_a_graph_that_the_peer_lacks_is_run_here(box):
    with Peer() as nobody, Daemon(edge(box, devices={"cloud": cloud(nobody.url), "cpu0": CPU})) as here:
        assert here.answered(jpeg("green"))["objects"][0]["label"] == "green"
        assert lanes_of(here) == {"cpu0"}
        assert "cloud" in here.parts.scheduler.state.lanes, "it is there, and of no use"


# ---- a peer that dies


def test_a_peer_that_goes_away_takes_its_lane_down_and_brings_it_back(box):
    with peer(box) as there:
        address = url(there)
        devices = {"cloud": cloud(address, price_per_request=0.25), "cpu0": CPU}
        with Daemon(edge(box, devices=devices)) as here:
            assert within(lambda: ready(here, "cloud", "paint"))
            assert here.answered(jpeg("red"))["objects"][0]["label"] == "red"
            assert lanes_of(here) == {"cloud"}
            there.stop()
            assert [here.answered(jpeg(colour))["objects"][0]["label"] for colour in COLOURS] == [*COLOURS]
            state = here.parts.scheduler.state
            assert "cloud" not in state.lanes
            folder = box / "again"
            folder.mkdir()
            (folder / "repository").symlink_to(box / "repository")
            port = int(address.rpartition(":")[2])
            with Daemon(edge(folder, http={"port": port}, mqtt={"port": 1, "node": "peer"})) as again:
                assert within(lambda: again.http.ready())
                assert within(lambda: ready(here, "cloud", "paint"))
                assert here.answered(jpeg("blue"))["objects"][0]["label"] == "blue"
            last = here.stop()
    assert last["frames"]["in"] == last["frames"]["answered"] == 5
    assert last["events"]["lanes_lost"] == 1
    assert last["paid"]["cloud"] == {"tasks": 3, "money": 0.75}, "what it was sent, answered or not"


PEER = """
import sys
from pathlib import Path
from tests.edge.daemon_builder import Daemon
with Daemon(Path(sys.argv[1])) as daemon:
    while not daemon.http.ready():
        pass
    print(daemon.http.port, flush=True)
    daemon.parts.world.listeners.append(type("Says", (), {
        "arrived": lambda *_: print("arrived", flush=True), "dropped": lambda *_: None, "replied": lambda *_: None,
    })())
    daemon._thread.join()
"""


def test_a_peer_that_is_killed_with_our_frames_in_hand_costs_no_answer(box):
    """Its device hangs, so the work is certainly there when the process dies."""
    folder = box / "peer"
    folder.mkdir()
    (folder / "repository").symlink_to(box / "repository")
    config = edge(folder, http={"port": 0}, devices={"cpu0": {"use": "tests.edge.daemon_builder:HangingCpu"}})
    process = subprocess.Popen(
        [sys.executable, "-c", PEER, str(config)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3], text=True
    )
    try:
        port = process.stdout.readline().strip()
        devices = {"cloud": cloud(f"http://127.0.0.1:{port}"), "cpu0": CPU}
        with Daemon(edge(box, devices=devices)) as here:
            assert within(lambda: ready(here, "cloud", "paint"))
            heard = threading.Event()
            threading.Thread(target=lambda: process.stdout.readline() and heard.set(), daemon=True).start()
            here.send(jpeg("red"))
            assert heard.wait(10)
            for colour in COLOURS:
                here.send(jpeg(colour))
            process.send_signal(signal.SIGKILL)
            assert eventually(lambda: here.handled() == 4)
            assert sorted(result["objects"][0]["label"] for result in here.results) == ["blue", "green", "red", "red"]
            last = here.stop()
    finally:
        process.kill()
        process.wait()
    assert last["frames"]["answered"] == last["frames"]["in"] == 4
    assert last["events"]["lanes_lost"] == 1
    assert add_up(last["frames"])


@pytest.mark.parametrize("first", ["cloud", "cpu0"])
def test_durations_begin_with_the_profiles_of_this_box(box, first):
    with Peer() as nobody:
        devices = {"cloud": cloud(nobody.url, overhead_ms=25), "cpu0": CPU}
        ordered = {first: devices[first], **devices}
        with Daemon(edge(box, devices=ordered)) as here:
            state = here.parts.scheduler.state
            assert within(lambda: "paint" in state.models and len(state.lanes) == 2)
            digest = state.models["paint"].serving.stages[0]
            near, far = (state.duration_ns(digest, 1, state.lanes[lane]) for lane in ("cpu0", "cloud"))
    assert near < 10_000_000, "measured here, not guessed"
    assert far == near + 25_000_000
