"""edge.yaml: what is wrong is said with file, place and what is known there; nothing is guessed."""

from pathlib import Path

import pytest
import yaml

from edge.config import AppSettings, Config, StreamSettings, build, load
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.sources.mqtt.settings import MqttSettings
from porting.errors import UserError
from tests.edge.daemon_builder import CASCADE, edge

APP = {"use": "edge.answers.single:Single", "model": "paint", "slo_ms": 50}


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(path))
    return said.removeprefix(str(path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"polcy": {}}, "polcy: unknown key; known here: answer, apps, background, cache_mb, devices, drift"),
        ({"mqtt": {"hots": "a"}}, "mqtt.hots: unknown key; known here: client_id, frame_bytes_max, host"),
        ({"mqtt": {"tls": {"cert_file": "a"}}}, "mqtt.tls.cert_file: unknown key; known here: ca, cert, key"),
        ({"drift": {"model": ["paint"]}}, "drift.model: unknown key; known here: alpha, audit_labels"),
        ({"background": {"shares": 1}}, "background.shares: unknown key; known here: share, step_ms"),
        ({"streams": {"gate": {"app": []}}}, "streams.gate.apps: missing (1 more)"),
        (
            {"streams": {"gate": {"apps": ["colour"], "fps": 3}}},
            "streams.gate.fps: unknown key; known here: apps, enabled",
        ),
        ({"models": None}, "models: missing"),
        ({"apps": {}}, "apps: "),
        ({"apps": {"colour": {**APP, "slo_ms": 0}}}, "apps.colour.slo_ms: Input should be greater than 0, got 0"),
        ({"apps": {"colour": {**APP, "use": "Single"}}}, "apps.colour.use: "),
        ({"apps": {"a/b": APP}}, "apps: 'a/b' cannot be part of a topic"),
        ({"streams": {"gate": {"apps": ["colour"], "waiting_max": 33}}}, "streams.gate.waiting_max: "),
        ({"streams": {"gate": {"apps": ["color"]}}}, "streams.gate.apps: no app is called 'color'; apps here: colour"),
        ({"background": {"share": 1.5}}, "background.share: Input should be less than or equal to 1, got 1.5"),
        ({"mqtt": {"node": "a/b"}}, "mqtt.node: "),
        ({"mqtt": {"password": "{LEEWAY_NOT_THERE}"}}, "asks for the environment variable LEEWAY_NOT_THERE"),
        ({"stats_period_s": "often"}, "stats_period_s: "),
        ({7: "x"}, "7: "),
    ],
    ids=str,
)
def test_each_slip_names_its_place(tmp_path, changes, said):
    table = yaml.safe_load(edge(tmp_path).read_text()) | changes
    path = tmp_path / "edge.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in table.items() if value is not None}))
    assert said in complaint(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ": expected a mapping of keys at the top"),
        (b"- a\n- b\n", ": expected a mapping of keys at the top"),
        (b"models: [\n", ":2: not YAML: "),
        (b"models: a\n  apps: b\n", ":2: not YAML: "),
        (b"\xff\xfe\x00", ": not YAML: "),
        (b"models: !!python/object:os.system x\n", ":1: not YAML: "),
    ],
)
def test_what_is_no_yaml_is_said_with_its_line(tmp_path, content, said):
    path = tmp_path / "edge.yaml"
    path.write_bytes(content)
    assert complaint(path).startswith(said)


def test_a_folder_is_no_config(tmp_path):
    assert "Is a directory" in complaint(tmp_path)


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    path = edge(tmp_path, trace="out/trace.jsonl", journal="/var/journal.jsonl")
    monkeypatch.chdir(tmp_path)
    config = load(Path("edge.yaml"))
    assert config.models == tmp_path / "repository"
    assert config.trace == tmp_path / "out" / "trace.jsonl"
    assert config.journal == Path("/var/journal.jsonl")
    assert load(path) == config


def test_secrets_come_from_the_environment_and_stay_out_of_sight(tmp_path, monkeypatch):
    monkeypatch.setenv("LEEWAY_MQTT_PASSWORD", "hunter2")
    config = load(edge(tmp_path, mqtt={"username": "box", "password": "<{LEEWAY_MQTT_PASSWORD}>"}))
    assert config.mqtt.password == "<hunter2>"
    assert "hunter2" not in repr(config)


def test_a_camera_has_its_own_entry_or_the_star():
    streams = {"gate": StreamSettings(apps=("a",)), "*": StreamSettings(apps=("b",))}
    config = Config(models=Path("m"), apps={"a": AppSettings(**APP), "b": AppSettings(**APP)}, streams=streams)
    assert config.stream("gate") is streams["gate"]
    assert config.stream("yard") is streams["*"]
    assert config.model_copy(update={"streams": {"gate": streams["gate"]}}).stream("yard") is None


def test_an_app_is_built_without_what_is_not_its_own():
    assert AppSettings(**{**CASCADE, "slo_ms": 50, "priority": 2}).build().models() == ("cells", "paint", "tint")


def test_a_plug_in_is_built_from_its_import_path():
    policy = build({"use": "edge.policies.edf:EarliestDeadlineFirst", "batch_max": 3})
    assert policy == EarliestDeadlineFirst(batch_max=3)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"use": "edge.policies.nothing:Nobody"}, "cannot be imported"),
        ({"use": "edge.policies.edf:Nobody"}, "cannot be imported"),
        ({"use": "edge.policies.edf:EarliestDeadlineFirst", "batchmax": 3}, "batchmax"),
        ({"use": "devices.simulated:Simulated", "noise": 7}, "noise between 0 and 1"),
        ({"use": "devices.simulated:Simulated", "ms_by_batch": {"a": 1}}, "invalid literal"),
    ],
)
def test_a_plug_in_that_cannot_be_built_is_said_by_name(table, said):
    with pytest.raises(UserError, match=said) as caught:
        build(table)
    assert table["use"].partition(":")[0] in str(caught.value)


@pytest.mark.parametrize("file", [False, True], ids=["by name", "by file"])
def test_a_system_fills_what_the_file_leaves_open(tmp_path, file):
    path = edge(tmp_path)
    (tmp_path / "mine.yaml").write_text('policy: {use: "edge.policies.fifo:Fifo", batch_max: 3}')
    table = yaml.safe_load(path.read_text())
    table.pop("policy", None)
    path.write_text(yaml.safe_dump({**table, "system": "mine.yaml" if file else "fifo"}))
    assert load(path).policy.build() == (Fifo(batch_max=3) if file else Fifo(batch_max=32, drop="never"))


def test_a_key_of_its_own_goes_before_the_system(tmp_path):
    path = edge(tmp_path)
    table = yaml.safe_load(path.read_text()) | {"policy": {"use": "edge.policies.edf:EarliestDeadlineFirst"}}
    path.write_text(yaml.safe_dump({**table, "system": "fifo"}))
    assert load(path).policy.build() == EarliestDeadlineFirst()


def test_an_unknown_system_is_told_with_the_nearest(tmp_path):
    path = edge(tmp_path)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "system": "fif"}))
    assert "system: no system is called 'fif'; did you mean 'fifo'?" in complaint(path)


MQTT, HTTP, OTHER = "MqttSource", "HttpSource", {"use": "elsewhere.camera:Rtsp", "url": "rtsp://gate"}


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"mqtt": None}, [MQTT]),
        ({"mqtt": {}}, [MQTT]),
        ({"mqtt": None, "sources": []}, [MQTT]),
        ({"mqtt": None, "http": {"port": 9}}, [MQTT, HTTP]),
        ({"mqtt": None, "sources": [OTHER]}, ["Rtsp"]),
        ({"mqtt": None, "http": {}, "sources": [OTHER]}, [HTTP, "Rtsp"]),
        ({"mqtt": {}, "http": {}, "sources": [OTHER, OTHER]}, [MQTT, HTTP, "Rtsp", "Rtsp"]),
    ],
    ids=str,
)
def test_short_forms_are_sources_and_mqtt_is_there_where_nothing_else_is_named(tmp_path, changes, kinds):
    named = load(edge(tmp_path, **changes)).all_sources()
    assert [source.use.partition(":")[2] for source in named] == kinds


def test_a_short_form_hands_all_its_keys_on(tmp_path):
    mqtt = {"port": 7, "node": "gate", "password": "secret", "tls": {"ca": "ca.pem"}}
    mqtt_source, http_source = load(edge(tmp_path, mqtt=mqtt, http={"port": 9})).all_sources()
    options = {key: value for key, value in mqtt_source.model_dump().items() if key != "use"}
    made = MqttSettings.model_validate(options)
    assert (made.port, made.node, made.password, made.tls.ca) == (7, "gate", "secret", tmp_path / "ca.pem")
    assert http_source.model_dump()["port"] == 9


def test_paths_in_the_options_of_a_source_are_relative_to_the_file_where_they_begin_so(tmp_path):
    options = {"folder": "./in", "tls": {"ca": "../ca.pem"}, "more": ["./a", "b", 3], "url": "rtsp://gate/./a"}
    (source,) = load(edge(tmp_path, mqtt=None, sources=[{**OTHER, **options}])).all_sources()
    found = source.model_dump()
    assert found["folder"] == str(tmp_path / "in")
    assert found["tls"] == {"ca": str(tmp_path / "../ca.pem")}
    assert found["more"] == [str(tmp_path / "a"), "b", 3]
    assert found["url"] == "rtsp://gate/./a"
