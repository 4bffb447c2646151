"""Answers that are given again: what is kept, what is found, what leaves, and the books of the daemon around it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.answers.single import Single
from edge.core.events import Reply, Request, Served
from edge.core.interfaces import Moment
from edge.core.state import Model, State
from edge.data.frame import Frame
from edge.data.job import InFlightRequest, TaskJob
from edge.data.outcome import TaskOutcome
from edge.data.picture import Picture
from edge.estimators.table import Table
from edge.runtime.prediction_cache import ENTRY_BYTES, FOUND_BYTES, JOB_BYTES, PredictionCache, size_of
from porting.formats.format import DetectedObject, Signals
from porting.variant import Variant
from tests.edge.daemon_builder import CASCADE, Daemon, add_up, edge, jpeg, repository_of_box, swapped, within

ONE = ENTRY_BYTES + JOB_BYTES + FOUND_BYTES  # an answer of one task that found one thing
ANSWERS = {"colour": Single("paint"), "shade": Single("paint")}


class Learning(Single):
    def observe(self, moment: Moment) -> tuple[()]:
        return ()


def variant(*stages: str, model: str = "paint") -> Variant:
    return Variant(model, "-".join(stages), stages)


OLD, NEW = variant("backbone", "h0"), variant("backbone", "h1")


class Desk:
    """Frames asked for and answered by hand."""

    def __init__(self, limit: int = 10**6, answers: Any = ANSWERS):
        self.cache, self.number = PredictionCache(limit, answers), 0
        self.serves(OLD)

    def serves(self, serving: Variant) -> None:
        state = State(Table(), models={"paint": Model(serving=serving)})
        self.cache.observe(Moment(0, Served(serving, ()), (), state))

    def asks(self, payload: bytes, app: str = "colour") -> tuple[InFlightRequest, Reply | None]:
        self.number += 1
        frame = Frame("gate", payload, 0, 0.0, 0.0)
        opened = InFlightRequest(Request(self.number, app, "gate", 0, 100), frame, Picture(payload))
        return opened, self.cache.recall(opened)

    def answers(self, opened: InFlightRequest, by: Variant = OLD, outcome: Any = "ok", detail: str = "") -> None:
        job = TaskJob(
            by.model,
            by,
            opened.picture,
            outcome=TaskOutcome([DetectedObject("paint", "red", 0.9)], [np.zeros((9, 9, 3))]),
        )
        job.outcome.signals = Signals(np.zeros(0), np.zeros(512))
        opened.jobs[7] = job
        self.cache.replied(opened, Reply(opened.request.id, outcome, (7,) if outcome == "ok" else (), detail), 0)

    def meets(self, payload: bytes, app: str = "colour") -> bool:
        """Ask; where it is not known, answer. Was it known?"""
        opened, reply = self.asks(payload, app)
        if reply is None:
            self.answers(opened)
        return reply is not None


def test_the_same_picture_again_has_the_same_answer() -> None:
    desk = Desk()
    opened, reply = desk.asks(b"picture")
    assert reply is None
    desk.answers(opened)
    again, reply = desk.asks(b"picture")
    assert reply == Reply(2, "ok", (7,))
    assert again.jobs[7].outcome.found == [DetectedObject("paint", "red", 0.9)]
    assert desk.cache.counters() == {"hits": 1, "misses": 1, "answers": 1, "bytes": ONE}


def test_attributes_of_an_object_count_for_the_memory_that_is_kept() -> None:
    long, short = ({"text": "word " * words} for words in (1000, 1))
    sizes = [
        size_of({1: TaskJob("m", OLD, outcome=TaskOutcome([DetectedObject("m", "said", 1.0, attributes=said)]))})
        for said in (long, short)
    ]
    assert sizes[0] - sizes[1] == 5 * 999


def test_what_is_kept_holds_no_picture_and_is_no_sample() -> None:
    desk = Desk()
    desk.meets(b"picture")
    again, _ = desk.asks(b"picture")
    job = again.jobs[7]
    assert (job.picture, job.outcome.crops, job.outcome.signals.features, job.infer_ns) == (None, [], None, 0)


def test_another_picture_and_another_app_are_others() -> None:
    desk = Desk()
    assert [desk.meets(payload) for payload in (b"a", b"b", b"a", b"b")] == [False, False, True, True]
    assert [desk.meets(b"a", "shade") for _ in range(2)] == [False, True]


def test_a_promotion_finds_nothing_and_a_rollback_finds_what_was() -> None:
    desk = Desk()
    desk.meets(b"picture")
    desk.serves(NEW)
    opened, reply = desk.asks(b"picture")
    assert reply is None
    desk.answers(opened, by=NEW)
    desk.serves(OLD)
    again, _ = desk.asks(b"picture")
    assert again.jobs[7].variant == OLD


def test_an_answer_of_a_version_that_has_left_meanwhile_is_not_kept() -> None:
    desk = Desk()
    opened, _ = desk.asks(b"picture")
    desk.serves(NEW)
    desk.answers(opened, by=OLD)
    assert desk.cache.kept == {}


@pytest.mark.parametrize(("outcome", "detail"), [("late", ""), ("failed", "weather"), ("ok", "partial")])
def test_only_whole_answers_are_kept(outcome: str, detail: str) -> None:
    desk = Desk()
    opened, _ = desk.asks(b"picture")
    desk.answers(opened, outcome=outcome, detail=detail)
    assert desk.cache.kept == {}
    assert desk.cache.asked == {}


def test_what_was_not_asked_for_longest_leaves_first() -> None:
    desk = Desk(limit=3 * ONE)
    for payload in (b"a", b"b", b"c", b"a", b"d"):
        desk.meets(payload)
    assert [desk.meets(payload) for payload in (b"a", b"c", b"d", b"b")] == [True, True, True, False]
    assert desk.cache.bytes == 3 * ONE


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    desk = Desk(limit=ONE - 1)
    assert [desk.meets(b"a") for _ in range(2)] == [False, False]
    assert desk.cache.bytes == 0


def test_an_answer_that_learns_is_asked_every_time() -> None:
    desk = Desk(answers={"colour": Learning("paint")})
    assert [desk.meets(b"a") for _ in range(3)] == [False] * 3
    assert desk.cache.counters()["misses"] == 0, "it is not in the cache's books"


# ---- the daemon ----------------------------------------------------------------------------------------------------


def labels(result: dict[str, Any]) -> list[str]:
    return [found["label"] for found in result["objects"]]


def ask(daemon: Daemon, payloads: Sequence[bytes]) -> list[list[str]]:
    return [labels(daemon.answered(payload)) for payload in payloads]


def test_a_repeated_frame_takes_no_lane_and_is_in_the_books(box: Path) -> None:
    red, blue = jpeg("red"), jpeg("blue")
    with Daemon(edge(box, cache_mb=1)) as daemon:
        assert ask(daemon, [red, red, blue, red, blue]) == [["red"], ["red"], ["blue"], ["red"], ["blue"]]
        served = {task.request for run in daemon.runs for task in run.tasks}
        assert len(served) == 2
        assert daemon.results[-1]["timings_ms"]["infer"] == 0
        last = daemon.stop()
    assert last["cache"]["hits"] == 3
    assert last["cache"]["misses"] == 2
    assert (last["frames"]["in"], last["frames"]["answered"]) == (5, 5)
    assert add_up(last["frames"])


def test_a_cascade_is_repeated_with_its_boxes(box: Path) -> None:
    picture = jpeg("red", "green", "blue", "black")
    table = {"apps": {"junction": CASCADE}, "streams": {"*": {"apps": ["junction"], "waiting_max": 32}}}
    with Daemon(edge(box, cache_mb=1, **table)) as daemon:
        first, second = daemon.answered(picture), daemon.answered(picture)
        assert second["objects"] == first["objects"]
        assert second["models"] == first["models"]
        assert daemon.stop()["cache"]["hits"] == 1


def test_a_promotion_is_seen_by_frames_that_were_answered_before(box: Path) -> None:
    repository = repository_of_box(box)
    with Daemon(edge(box, cache_mb=1)) as daemon:
        assert ask(daemon, [jpeg("red")] * 2) == [["red"]] * 2
        repository.serve("paint", swapped(repository))
        assert within(lambda: labels(daemon.answered(jpeg("red"))) == ["blue"])
        assert labels(daemon.answered(jpeg("red"))) == ["blue"]


def test_without_a_cache_every_frame_is_looked_at(box: Path) -> None:
    with Daemon(edge(box)) as daemon:
        ask(daemon, [jpeg("red")] * 3)
        assert len(daemon.runs) >= 3
        assert "cache" not in daemon.stop()


def test_the_core_is_looked_after_while_the_cache_answers_everything(box: Path) -> None:
    """A camera that looks at nothing sends faster than a tick: statistics, planners and promotions must not wait."""
    with Daemon(edge(box, cache_mb=1)) as daemon:
        ask(daemon, [jpeg("red")] * 2)
        seen = daemon.parts.world.heard_ns
        assert within(lambda: bool(daemon.answered(jpeg("red"))) and daemon.parts.world.heard_ns > seen + 500_000_000)
