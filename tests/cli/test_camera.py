"""`leeway camera` as it is typed: a broker, frames, a summary; and one line for a slip."""

import json

import pytest

from cli.main import main
from edge.sources.mqtt.broker import EmbeddedBroker


def run(capsys, *args):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, args)])
    return ended.value.code, *capsys.readouterr()


def test_frames_are_published_and_counted(capsys):
    with EmbeddedBroker() as broker:
        code, out, _ = run(
            capsys, "camera", "junction", "--cameras", 2, "--port", broker.port, "--count", 3, "--fps", 50, "--json"
        )
    counts = json.loads(out)["cameras"]
    assert code == 0
    assert {name: row["published"] for name, row in counts.items()} == {"cam1": 3, "cam2": 3}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere"], "no such file"),
        (["junction", "--camera", "a/b"], "--camera"),
        (["junction", "--topic", "a/+/frame"], "+ and #"),
        (["junction", "--topic", "a/b/frame", "--cameras", "2"], "--topic"),
        (["junction", "--node", "#"], "--node"),
        (["junction", "--option", "seed"], "KEY=VALUE"),
    ],
)
def test_a_slip_is_one_line_and_exit_code_2(capsys, args, said):
    code, _, err = run(capsys, "camera", *args)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_help_teaches_by_examples(capsys):
    code, out, _ = run(capsys, "camera", "--help")
    assert code == 0
    assert "leeway camera junction --cameras 4" in out
