"""`leeway port` and `leeway models` as a user types them: tables, JSON, exit codes, one line for each slip."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import simplejpeg
from onnx import TensorProto, helper, numpy_helper

from cli.main import main
from porting.repository.repository import Repository


def write_model(path: Path, *, labels=2, seed=0) -> Path:
    """[N, 3, 8, 8] -> pool -> Gemm -> Softmax: label 1 for reddish pictures."""
    weight = np.random.default_rng(seed).normal(size=(labels, 3)).astype(np.float32)
    weight[:2] = [[-5, 0, 0], [5, 0, 0]]
    bias = np.zeros(labels, np.float32)
    bias[:2] = [2.5, -2.5]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["pool"]),
            helper.make_node("Flatten", ["pool"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1),
            helper.make_node("Softmax", ["logits"], ["out"]),
        ],
        "m",
        [value("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [value("out", TensorProto.FLOAT, ["N", labels])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_samples(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(20):
            for label, red in (("dark", 20), ("red", 230)):
                image = np.full((8, 8, 3), 10, np.uint8)
                image[:, :, 0] = red
                archive.writestr(f"{label}/{i:03}.jpg", simplejpeg.encode_jpeg(image, quality=95))
    return path


@pytest.fixture
def leeway(tmp_path, monkeypatch, capsys):
    """Type a command in an empty folder; what it printed on stdout and stderr, and its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def typed(*args):
        with pytest.raises(SystemExit) as ended:
            main([str(arg) for arg in args])
        said = capsys.readouterr()
        return said.out, said.err, ended.value.code or 0

    return typed


@pytest.fixture
def ported(leeway, tmp_path):
    """A repository with one model."""
    model, samples = write_model(tmp_path / "lamp.onnx"), write_samples(tmp_path / "lamps.zip")
    out, err, code = leeway("port", model, "--samples", samples, "--scale", "1/255", "--json")
    assert code == 0, err
    return json.loads(out)


def test_port_names_the_model_after_its_file_and_serves_it(ported, tmp_path):
    assert (ported["model"], ported["variant"], ported["served"]) == ("lamp", "fp32", True)
    assert ported["labels"] == ["dark", "red"]
    assert ported["accuracy"]["top1"] == 1.0
    assert [stage["name"] for stage in ported["stages"]] == ["backbone", "head"]
    assert Repository(tmp_path / "repository").serving("lamp") == "fp32"


def test_port_prints_a_table_for_people(leeway, tmp_path):
    model, samples = write_model(tmp_path / "lamp.onnx"), write_samples(tmp_path / "lamps.zip")
    out, err, code = leeway("port", model, "--name", "x", "--samples", samples, "-r", "elsewhere")
    assert (code, err) == (0, "")
    assert all(word in out for word in ("x / fp32: serves now", "accuracy", "backbone", "p99", "dark"))
    assert (tmp_path / "elsewhere" / "x" / "serving.json").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["none.onnx"], "none.onnx: No such file"),
        (["text.onnx"], "not an ONNX file"),
        (["lamp.onnx", "--labels", "a,b,c"], "2 classes, 3 labels"),
        (["lamp.onnx", "--labels", "a,a"], "'a' is there twice"),
        (["lamp.onnx", "--labels", "none.txt"], "none.txt: cannot be read"),
        (["lamp.onnx", "--input-size", "big"], "--input-size big"),
        (["lamp.onnx", "--input-size", "16x16"], "takes 8x8"),
        (["lamp.onnx", "--scale", "x"], "--scale x: expected a number"),
        (["lamp.onnx", "--mean", "1,2"], "one number or three"),
        (["lamp.onnx", "--std", "0"], "none 0"),
        (["lamp.onnx", "--color", "blue"], "expected rgb or bgr or gray"),
        (["lamp.onnx", "--device", "gpu"], "--device gpu"),
        (["lamp.onnx", "--samples", "text.onnx"], "neither a folder nor a zip"),
        (["lamp.onnx", "--name", "a/b"], "no name for a model"),
    ],
)
def test_a_slip_is_one_line_and_exit_code_two(leeway, tmp_path, args, said):
    write_model(tmp_path / "lamp.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    out, err, code = leeway("port", *args)
    assert code == 2
    assert out == ""
    assert said in err
    assert err.startswith("leeway: ")
    assert err.count("\n") == 1


def test_a_gate_that_says_no_is_exit_code_three_and_the_old_one_serves_on(leeway, ported, tmp_path):
    write_model(tmp_path / "lamp.onnx", seed=1)
    _, err, code = leeway("port", "lamp.onnx", "--labels", "dark,red", "--accuracy-min", "0.9")
    assert code == 3
    assert "no labelled samples" in err
    assert Repository(tmp_path / "repository").serving("lamp") == "fp32"


def test_list_and_show(leeway, ported):
    out, _, code = leeway("models", "list")
    assert code == 0
    assert "lamp" in out
    assert "1.0000" in out
    assert [row["serving"] for row in json.loads(leeway("models", "list", "--json")[0])] == ["fp32"]
    out, _, code = leeway("models", "show", "lamp")
    assert code == 0
    assert all(word in out for word in ("lamp / fp32: serves now", "stages", "measured", "history", "lamp.onnx"))
    found = json.loads(leeway("models", "show", "lamp", "fp32", "--json")[0])
    assert found["variant"]["output"]["labels"] == ["dark", "red"]
    assert found["profiles"]["cpu"]["machine"]["cores"] >= 1


def test_serve_and_rollback(leeway, ported, tmp_path):
    repository = Repository(tmp_path / "repository")
    other = write_model(tmp_path / "other.onnx", labels=3)
    assert leeway("port", other, "--name", "lamp", "--no-serve")[2] == 0
    assert repository.serving("lamp") == "fp32"
    assert leeway("models", "serve", "lamp", "fp32-2")[2] == 0
    assert repository.serving("lamp") == "fp32-2"
    out, _, code = leeway("models", "rollback", "lamp", "--json")
    assert (code, json.loads(out)) == (0, {"model": "lamp", "serving": "fp32"})
    _, err, code = leeway("models", "rollback", "lamp")
    assert code == 2
    assert "no way back" in err


def test_verify_finds_a_flipped_bit_and_serve_refuses_it(leeway, ported, tmp_path):
    assert leeway("models", "verify") == ("all well\n", "", 0)
    blob = Repository(tmp_path / "repository").blob_path(ported["stages"][0]["graph"])
    content = bytearray(blob.read_bytes())
    content[7] ^= 4
    blob.write_bytes(content)
    out, _, code = leeway("models", "verify", "--json")
    assert code == 1
    assert json.loads(out)["problems"][0]["path"].endswith(blob.name)
    _, err, code = leeway("models", "serve", "lamp", "fp32")
    assert code == 2
    assert blob.name in err
    assert err.count("\n") == 1


def test_prune_says_what_went_and_what_would(leeway, ported, tmp_path):
    assert leeway("models", "prune") == ("nothing to delete\n", "", 0)
    repository = Repository(tmp_path / "repository")
    blob = repository.blob_path(repository.add_blob(b"nobody needs it" * 100))
    os.utime(blob, (0, 0))
    out, _, code = leeway("models", "prune", "--dry-run")
    assert code == 0
    assert "1 would be deleted, 1 KiB" in out
    assert blob.exists()
    out, _, code = leeway("models", "prune", "--keep", "1", "--json")
    assert json.loads(out) == {"dry_run": False, "variants": [], "blobs": [blob.name], "leftovers": [], "bytes": 1500}
    assert not blob.exists()
    assert leeway("models", "verify") == ("all well\n", "", 0)
    assert leeway("models", "prune", "--keep", "0")[2] == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["list", "-r", "nowhere"], "nowhere: no repository here"),
        (["show", "none"], "no model 'none'; there is lamp"),
        (["show", "lamp", "none"], "no variant 'none'; there is fp32"),
        (["serve", "lamp", "none"], "no variant 'none'"),
        (["rollback", "lamp", "--to", "none"], "no variant 'none'"),
    ],
)
def test_slips_of_models(leeway, ported, args, said):
    _, err, code = leeway("models", *args)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "verb", [["port"], ["models"], *(["models", v] for v in ("list", "show", "verify", "prune", "serve", "rollback"))]
)
def test_help_teaches_with_an_example(leeway, verb):
    out, _, code = leeway(*verb, "--help")
    assert code == 0
    assert "Example" in out or verb == ["models"]
