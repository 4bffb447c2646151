"""The daemon without its network: every part but the broker, frames from within."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.config import load
from edge.core.events import Arrived, Finished, Reply, Run, Served, Time
from edge.data.job import InFlightRequest
from edge.sources.source import frame_now
from evaluation.arrivals.recording import recording_of
from evaluation.capacity import recorded_daemon
from tests.conftest import eventually
from tests.edge.daemon_builder import CASCADE, edge, jpeg


class Some(recorded_daemon.NoLabels):
    """Brings some frames one after the other, and waits for the answers."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self.payloads, self.replies, self.taken = payloads, list[Reply](), list[bool]()

    def drive(self, receive: recorded_daemon.Receive) -> None:
        for number, payload in enumerate(self.payloads, 1):
            self.taken.append(receive(frame_now("gate", payload)))
            assert eventually(lambda n=number: len(self.replies) >= n)

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        self.replies.append(reply)


def test_frames_are_answered_and_every_moment_is_kept(box: Path) -> None:
    driver = Some([jpeg("red"), jpeg("blue"), b"no picture"])
    recorded = recorded_daemon.serve(load(edge(box)), driver)
    assert driver.taken == [True] * 3
    assert [reply.outcome for reply in driver.replies] == ["ok", "ok", "failed"]
    kinds = [type(moment.event) for moment in recorded.moments]
    assert [kinds.count(kind) for kind in (Served, Arrived)] == [1, 3]
    assert kinds.count(Finished) >= 2  # more where the two stages of a chain did not run back to back
    assert all(a.now <= b.now for a, b in zip(recorded.moments, recorded.moments[1:], strict=False))


def test_the_tape_reads_like_a_trace(box: Path) -> None:
    config = load(edge(box, apps={"look": CASCADE}, streams={"*": {"apps": ["look"]}}))
    recorded = recorded_daemon.serve(config, Some([jpeg("red", "blue", "green", "black")]))
    recording = recording_of(recorded.lines(), "tape", by_events=True)
    (request,) = recording.requests
    assert (request.app, request.stream) == ("look", "gate")
    assert [found for model, found in recording.children.values() if model == "cells"] == [{"vehicle": 2, "person": 1}]
    runs = [action for moment in recorded.moments for action in moment.actions if isinstance(action, Run)]
    assert sum(map(len, recording.took_ns.values())) == sum(len(run.stages) for run in runs)
    assert min(min(took_ns) for took_ns in recording.took_ns.values()) > 0


def test_from_order_to_end_is_longer_than_on_the_lane(box: Path) -> None:
    recorded = recorded_daemon.serve(load(edge(box)), Some([jpeg("red")] * 5))
    whole, lane = (recording_of(recorded.lines(), "tape", by_events=by) for by in (True, False))
    assert whole.took_ns.keys() == lane.took_ns.keys()
    assert sum(map(sum, whole.took_ns.values())) > sum(map(sum, lane.took_ns.values()))


def test_a_bug_of_the_driver_is_not_swallowed(box: Path) -> None:
    class Wrong(recorded_daemon.NoLabels):
        def drive(self, receive: recorded_daemon.Receive) -> None:
            raise ZeroDivisionError("a bug of the driver")

    with pytest.raises(ZeroDivisionError, match="of the driver"):
        recorded_daemon.serve(load(edge(box)), Wrong())


def test_drift_takes_its_samples_and_orders_nothing(box: Path) -> None:
    config = load(edge(box, drift={"models": ["paint"]}))
    before = sorted((box / "repository").rglob("*"))
    driver = Some([jpeg("red")] * 3)
    recorded_daemon.serve(config, driver)
    assert [reply.outcome for reply in driver.replies] == ["ok"] * 3
    assert sorted((box / "repository").rglob("*")) == before
