"""A source is one class, found by its import path: one from outside the tree serves frames through the whole daemon."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from cli.config import check
from edge.config import load
from porting.errors import UserError
from tests.edge.daemon_builder import Daemon, edge, jpeg, within

REPLAY = """
from pathlib import Path
from threading import Thread
from edge.sources.source import frame_now
class Replay:
    def __init__(self, folder):
        self.pictures = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))]
        self.published = []
    def start(self, inbox):
        Thread(target=self.replay, args=(inbox,)).start()
    def replay(self, inbox):
        for number, picture in enumerate(self.pictures):
            inbox.receive(frame_now("replayed", picture, seq=number))
    def publish(self, topic, value, delivery):
        self.published.append((topic, value))
    def stop(self):
        self.published.append(("stopped", {}))
"""

FAULTY = """
class Faulty:
    def start(self, inbox):
        raise OSError("no such camera")
    def publish(self, topic, value, delivery):
        raise ValueError("not connected")
    def stop(self):
        raise RuntimeError("cannot stop")
    @property
    def counters(self):
        return {"empty": 2, "of_its_own": 1}
class Refusing(Faulty):
    def prepare(self, inbox):
        from porting.errors import UserError
        raise UserError("its port is taken; name another one")
class Half:
    def start(self, inbox): ...
    def stop(self): ...
"""
COLOURS = ["red", "green", "blue", "red"]
USE = {"use": "outside.replay:Replay", "folder": "./pictures"}


@pytest.fixture
def outside(box: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The box, with a folder of pictures, and a package from elsewhere on the path."""
    package = box / "elsewhere" / "outside"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "replay.py").write_text(REPLAY)
    (package / "faulty.py").write_text(FAULTY)
    (box / "pictures").mkdir()
    for number, colour in enumerate(COLOURS):
        (box / "pictures" / f"{number}.jpg").write_bytes(jpeg(colour))
    monkeypatch.syspath_prepend(package.parent)
    for name in ("outside", "outside.replay", "outside.faulty"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    return box


def results(source) -> list[dict]:
    return [value for topic, value in list(source.published) if topic == "replayed/colour/result"]


def test_a_plug_in_is_at_most_twenty_lines() -> None:
    assert len(REPLAY.strip().splitlines()) <= 20


def test_a_folder_is_served_end_to_end_by_a_plug_in(outside: Path) -> None:
    with Daemon(edge(outside, mqtt=None, sources=[USE])) as daemon:
        (source,) = daemon.parts.sources
        assert within(lambda: len(results(source)) == len(COLOURS))
        last = daemon.stop()
    assert [result["seq"] for result in results(source)] == [0, 1, 2, 3]
    assert [result["objects"][0]["label"] for result in results(source)] == COLOURS
    assert last["frames"] == {"in": 4, "answered": 4, "dropped": {}, "waiting": 0}
    assert (last["network"], "source_faults" in last) == ({}, False)
    topics = [topic for topic, _ in source.published]
    assert topics[-2:] == ["stats", "stopped"]
    assert json.loads(json.dumps(source.published))  # plain values, whatever a source writes them with


def test_what_fails_in_one_source_is_counted_and_the_others_serve(outside: Path, caplog) -> None:
    with Daemon(edge(outside, mqtt=None, sources=[{"use": "outside.faulty:Faulty"}, USE])) as daemon:
        daemon.faults = None
        _, source = daemon.parts.sources
        assert within(lambda: len(results(source)) == len(COLOURS))
        last = daemon.stop()
    assert last["source_faults"] == {"Faulty": daemon.parts.sources.faults["Faulty"] - 2}  # the last publish, and stop
    assert last["source_faults"]["Faulty"] > len(COLOURS)
    assert last["network"] == {"empty": 2, "of_its_own": 1}
    assert last["frames"]["dropped"] == {"empty": 2}
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert sorted(said) == [
        f"source Faulty: {call} failed; going on without it" for call in ("publish", "start", "stop")
    ]


def test_a_source_that_cannot_work_at_all_ends_the_daemon_in_one_line(outside: Path) -> None:
    use = [USE, {"use": "outside.faulty:Refusing"}]
    with pytest.raises(UserError, match="its port is taken"), Daemon(edge(outside, mqtt=None, sources=use)):
        pass


def test_mqtt_stands_beside_sources_where_the_file_names_both(outside: Path) -> None:
    kinds = [source.use.partition(":")[2] for source in load(edge(outside, http={}, sources=[USE])).all_sources()]
    assert kinds == ["MqttSource", "HttpSource", "Replay"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (USE, ""),
        ({"use": "outside.replay:Nothing"}, "sources.0.use: 'outside.replay:Nothing' cannot be imported"),
        ({"use": "outside.faulty:Half"}, "outside.faulty:Half is no source: it needs the methods start, publish and"),
        ({**USE, "fps": 5}, "outside.replay:Replay: "),
        ({"use": "edge.sources.mqtt.source:MqttSource", "prot": 1}, "prot: unknown key; known here: client_id"),
        ({"use": "edge.sources.http.server:HttpSource", "port": -1}, "port: Input should be greater than or equal"),
    ],
    ids=lambda value: value.get("use", "") if isinstance(value, dict) else "",
)
def test_the_check_of_a_config_makes_its_sources(outside: Path, source: dict, said: str, capsys) -> None:
    path = edge(outside, mqtt=None, sources=[source])
    shutil.rmtree(outside / "repository")
    if not said:
        check(path, as_json=True)
        assert json.loads(capsys.readouterr().out)["sources"] == ["outside.replay:Replay"]
        return
    with pytest.raises(UserError) as caught:
        check(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
