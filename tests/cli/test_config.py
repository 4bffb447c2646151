"""`leeway config`: what is right is shown, the first thing wrong is one line."""

import json

import pytest

from cli.main import main
from tests.edge.daemon_builder import CASCADE, edge


def typed(capsys, *words):
    """Exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def test_a_right_file_is_shown_with_its_parts(tmp_path, capsys):
    path = edge(tmp_path, apps={"junction": CASCADE}, streams={"*": {"apps": ["junction"]}})
    code, out, err = typed(capsys, "config", "check", path, "--json")
    found = json.loads(out)
    assert (code, err, found["ok"], found["node"]) == (0, "", True, "box")
    assert found["apps"] == {"junction": "edge.answers.cascade:Cascade, within 5000 ms"}
    assert found["streams"] == {"*": ["junction"]}
    assert found["sources"] == ["edge.sources.mqtt.source:MqttSource"]
    assert found["models"] == str(tmp_path / "repository")


def test_it_is_a_table_for_people(tmp_path, capsys):
    code, out, _ = typed(capsys, "config", "check", edge(tmp_path))
    assert code == 0
    assert ["ok", "yes"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"polcy": {}}, "polcy: unknown key; known here: "),
        ({"policy": {"use": "edge.policies.edf:Nearest"}}, "policy.use: "),
        ({"devices": {"gpu0": {"use": "devices.nothing:Gpu"}}}, "devices.gpu0.use: "),
        (
            {"policy": {"use": "edge.policies.burst:Burst"}},
            "policy.use: 'edge.policies.burst:Burst' has moved; write 'edge.policies.wrappers.cloud_burst:CloudBurst'",
        ),
        ({"planners": [{"use": "edge.planners.no:No"}]}, "planners.0.use: 'edge.planners.no:No' cannot be imported"),
        ({"streams": {"gate": {"apps": ["color"]}}}, "no app is called 'color'; apps here: colour"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, capsys, changes, said):
    code, out, err = typed(capsys, "config", "check", edge(tmp_path, **changes))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert said in line
    assert "edge.yaml" in line


def test_what_drift_names_is_found_as_well(tmp_path, capsys):
    code, _, err = typed(
        capsys, "config", "check", edge(tmp_path, drift={"detectors": ["drift.detectors.bbsds:Bbsds"]})
    )
    assert code == 2
    assert "'drift.detectors.bbsds:Bbsds' has moved; write 'drift.detection.bbsds:Bbsds'" in err


def test_a_file_that_is_not_there_is_one_line(tmp_path, capsys):
    code, _, err = typed(capsys, "config", "check", tmp_path / "edge.yaml")
    assert code == 2
    assert err.splitlines() == [
        f"leeway: {tmp_path}/edge.yaml: No such file or directory; give the path of an edge.yaml"
    ]


def test_the_schema_knows_every_key_of_the_file(capsys):
    code, out, _ = typed(capsys, "config", "schema")
    assert code == 0
    schema = json.loads(out)
    assert {"models", "mqtt", "devices", "apps", "streams", "drift", "trace"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
