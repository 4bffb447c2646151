"""What every source keeps: it brings work in, it never raises for what the world does, and it ends when it is told to.

A source whose constructor needs no options is held to this without being named. `OPTIONS` and `WORK` know the rest.
"""

import http.client
import inspect
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.plugins import build
from edge.sources.fan_out import Sources
from edge.sources.mqtt.broker import free_port
from edge.sources.source import Counts, Delivery, Prepares, Source, drift_topic, result_topic
from porting.errors import UserError
from porting.repository.repository import Repository
from tests.contracts.conftest import classes_in
from tests.edge.daemon_builder import Client, Daemon, edge, jpeg, within
from tests.edge.sources.inbox import KeepingInbox

PUBLISHED: list[tuple[str, Any, Delivery]] = [
    (result_topic("gate", "colour"), {"camera": "gate", "objects": []}, Delivery(headers={"traceparent": "00-a-b-01"})),
    (result_topic("rtsp://gate/1?a=#+\0", "colour"), {"objects": []}, Delivery()),  # any name that a camera may have
    ("stats", {"final": False}, Delivery(retain=True)),
    ("stats", {"final": True}, Delivery(retain=True, confirmed=True)),
    ("events", {"kind": "alarm"}, Delivery(confirmed=True)),
    (drift_topic("paint"), {"kind": "alarm"}, Delivery(retain=True)),
    ("label/request", jpeg("red"), Delivery(True, True, {"id": "paint-1", "model": "paint"}, "image/jpeg", 3600)),
]


def is_source(kind: type) -> bool:
    """Its `start` takes an inbox; a protocol and the list of all sources are none."""
    protocol = getattr(kind, "_is_protocol", False)
    starts = [*inspect.signature(getattr(kind, "start", lambda: None)).parameters]
    return starts == ["self", "inbox"] and kind is not Sources and not protocol


FOUND = [kind for kind in classes_in("edge.sources", "publish") if is_source(kind)]
EVERY = pytest.mark.parametrize("kind", FOUND, ids=lambda kind: kind.__name__)


def use_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__name__}"


OPTIONS: dict[str, Callable[[], Mapping[str, Any]]] = {  # for a source that finds nobody on the other side
    "MqttSource": lambda: {"port": free_port(), "reconnect_max_s": 0.2},
    "HttpSource": lambda: {"port": 0},
}


def made(kind: type) -> Any:
    return build({"use": use_of(kind), **OPTIONS.get(kind.__name__, dict)()})


@pytest.fixture
def inbox(tmp_path: Path) -> KeepingInbox:
    return KeepingInbox(answered=lambda answer: None, repository=Repository(tmp_path))


def begun(kind: type, inbox: KeepingInbox) -> Any:
    source = made(kind)
    if isinstance(source, Prepares):
        source.prepare(inbox)
    source.start(inbox)
    return source


def publish_all(source: Any) -> None:
    for topic, value, delivery in PUBLISHED:
        source.publish(topic, value, delivery)


def test_sources_are_found() -> None:
    assert {"MqttSource", "HttpSource"} <= {kind.__name__ for kind in FOUND}


@EVERY
def test_a_source_has_the_methods(kind: type) -> None:
    assert isinstance(made(kind), Source)


@EVERY
def test_an_unknown_option_is_one_line_that_names_the_class(kind: type) -> None:
    with pytest.raises(UserError) as caught:
        build({"use": use_of(kind), "no_such_option": 1})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(use_of(kind))
    assert "no_such_option" in str(caught.value)


@EVERY
def test_publish_is_allowed_at_any_time(kind: type, inbox: KeepingInbox) -> None:
    source = made(kind)
    publish_all(source)
    source.start(inbox)
    publish_all(source)
    source.stop()
    publish_all(source)


@EVERY
def test_stop_may_come_again_and_without_a_start(kind: type, inbox: KeepingInbox) -> None:
    for source in (made(kind), begun(kind, inbox)):
        source.stop()
        source.stop()


@EVERY
def test_nobody_on_the_other_side_is_no_error(kind: type, inbox: KeepingInbox) -> None:
    source = begun(kind, inbox)
    assert (inbox.frames, inbox.asked, inbox.faults) == ([], [], [])
    source.stop()
    assert inbox.faults == []


@EVERY
def test_its_threads_end_with_it(kind: type, inbox: KeepingInbox) -> None:
    before = set(threading.enumerate())
    begun(kind, inbox).stop()
    assert within(lambda: set(threading.enumerate()) <= before)


@EVERY
def test_counters_are_numbers_from_the_start(kind: type) -> None:
    source = made(kind)
    if isinstance(source, Counts):
        assert all(isinstance(name, str) and count == 0 for name, count in source.counters.items())


# ---- work: through the whole daemon, from the other side of the transport


def frames_over_mqtt(daemon: Daemon, port: int) -> bool:
    with Client(port) as client:
        assert daemon.mqtt.wait_connected(10)
        for colour in ("red", "blue"):
            client.send(jpeg(colour))
        assert within(lambda: len(client.under("gate/colour/result")) == 2)
        said = [result["objects"][0]["label"] for result in client.under("gate/colour/result")]
    return said == ["red", "blue"]


def tensors_over_http(daemon: Daemon, port: int) -> bool:
    assert within(daemon.http.ready)
    row = {"name": "image", "datatype": "FP32", "shape": [1, 3, 16, 16], "data": [0.5] * (3 * 16 * 16)}
    connection = http.client.HTTPConnection("127.0.0.1", daemon.http.port, timeout=20)
    connection.request("POST", "/v2/models/paint/infer", json.dumps({"inputs": [row]}))
    answer = json.loads(connection.getresponse().read())
    return [1, 3] in [output["shape"] for output in answer["outputs"]]


WORK: dict[str, tuple[Callable[[int], dict[str, Any]], Callable[[Daemon, int], bool]]] = {
    "MqttSource": (lambda port: {"port": port}, frames_over_mqtt),
    "HttpSource": (lambda port: {"port": 0}, tensors_over_http),
}


@EVERY
@pytest.mark.broker
def test_what_comes_in_is_served_and_told(kind: type, box: Path, mosquitto: Any) -> None:
    assert kind.__name__ in WORK, f"a new source: say in WORK how the other side of {kind.__name__} brings it something"
    options, drive = WORK[kind.__name__]
    with Daemon(edge(box, mqtt=None, sources=[{"use": use_of(kind), **options(mosquitto.port)}])) as daemon:
        assert drive(daemon, mosquitto.port)
        assert daemon.stop()["frames"]["answered"] > 0
