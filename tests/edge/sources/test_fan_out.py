"""All sources as one: each hears everything, a fault stays where it happened, counters add up."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from edge.core.events import Woke
from edge.sources.fan_out import Sources
from edge.sources.source import USUAL, drift_topic, frame_now, result_topic
from porting.errors import UserError
from tests.edge.sources.inbox import KeepingInbox


class Good:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def start(self, inbox: Any) -> None:
        self.heard.append("start")

    def publish(self, topic: str, value: Any, delivery: Any) -> None:
        self.heard.append(topic)

    def stop(self) -> None:
        self.heard.append("stop")

    @property
    def counters(self) -> dict[str, int]:
        return {"received": 3}


class Bad:
    def fail(self, *words: Any) -> Any:
        raise OSError("out of order")

    start = publish = stop = observe = fail
    counters = property(fail)


def test_each_source_hears_everything_whatever_another_does() -> None:
    first, last = Good(), Good()
    sources = Sources([first, Bad(), last])
    sources.start(KeepingInbox())
    sources.publish("stats", {})
    sources.stop()
    assert first.heard == last.heard == ["start", "stats", "stop"]
    assert sources.faults == {"Bad": 3}


def test_the_first_fault_of_each_call_is_logged_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    sources = Sources([Bad()])
    for _ in range(100):
        sources.publish("stats", {}, USUAL)
    sources.stop()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "out of order" in caplog.text
    assert sources.faults == {"Bad": 101}


def test_sources_of_one_class_are_told_apart_and_their_counters_add_up() -> None:
    one, other = Good(), Good()
    sources = Sources([one, other, Bad()])
    assert [*sources.named] == ["Good", "Good 2", "Bad"]
    assert sources.counters == {"received": 6}
    sources.fault(other, RuntimeError("its thread died"))
    assert sources.faults == {"Bad": 1, "Good 2": 1}


def test_the_counters_of_one_source_are_as_it_gives_them() -> None:
    counters = {"b": 1, "a": 0}
    source = SimpleNamespace(start=None, publish=None, stop=None, counters=counters)
    assert [*Sources([source]).counters.items()] == [*counters.items()]


def test_what_a_source_sees_and_posts_goes_both_ways() -> None:
    class Watching(Good):
        def observe(self, moment: Any) -> Any:
            self.heard.append(moment)
            yield Woke()

    watching, moment = Watching(), SimpleNamespace(now=1)
    sources = Sources([Good(), Bad(), watching])
    assert [*sources.watching] == ["Bad", "Watching"]
    assert sources.observe(moment) == [Woke()]
    assert watching.heard == [moment]
    assert sources.faults == {"Bad": 1}


def test_preparing_may_end_it_all() -> None:
    class Refuses(Good):
        def prepare(self, inbox: Any) -> None:
            raise UserError("the port is taken")

    with pytest.raises(UserError, match="the port is taken"):
        Sources([Good(), Refuses()]).prepare(KeepingInbox())


def test_sources_say_where_they_are_reached_if_they_know() -> None:
    class Told(Good):
        def __str__(self) -> str:
            return "at home"

    assert str(Sources([Told(), Good()])) == "Told (at home), Good"
    assert str(Sources([])) == "none"


def test_topics_have_as_many_levels_as_they_say() -> None:
    assert result_topic("gate", "look") == "gate/look/result"
    assert result_topic("rtsp://a/b#+", "c/d") == "rtsp:%2F%2Fa%2Fb%23%2B/c%2Fd/result"
    assert drift_topic("http/paint/0") == "http%2Fpaint%2F0/drift"


def test_a_frame_of_now_is_as_old_as_its_arrival_unless_it_says_more() -> None:
    frame = frame_now("gate", b"jpeg", seq=3)
    assert (frame.camera, frame.payload, frame.seq) == ("gate", b"jpeg", 3)
    assert frame.frame_time == frame.received_time > 1.7e9
    assert frame_now("gate", b"jpeg", frame_time=7.5).frame_time == 7.5
