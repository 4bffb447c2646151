"""The CIFAR-10 example: its files are what the page says, and measured.json can be believed."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from devices.cpu import Cpu
from drift.repair.batch_norm import norms
from examples.cifar import measure
from porting.intake.infer_spec import labels_in

HERE = Path(measure.__file__).parent
DATA = Path(os.environ.get("LEEWAY_DATA", HERE.parents[2] / "shared" / "data"))
MEASURED = json.loads((HERE / "measured.json").read_text())
SAMPLE, MARGIN = 500, 0.06  # three standard errors of an accuracy of 0.7 on 500 pictures
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BYTES_MAX = {"student": 1_500_000, "teacher": 5_000_000}

both = pytest.mark.parametrize("name", ["student", "teacher"])


@pytest.fixture(scope="module")
def truth() -> measure.Truth:
    if not (DATA / measure.TEST).exists():
        pytest.skip(f"{measure.TEST} is not in {DATA} (set LEEWAY_DATA to the folder that has it)")
    return measure.read_test(DATA, SAMPLE)


def graph(name: str) -> bytes:
    return (HERE / f"{name}.onnx").read_bytes()


@both
def test_measured_json_is_about_this_very_file(name: str):
    assert MEASURED[name]["sha256"] == hashlib.sha256(graph(name)).hexdigest()
    assert MEASURED[name]["bytes"] == len(graph(name)) <= BYTES_MAX[name]
    assert {"script", "seed", "data", "steps"} <= set(MEASURED[name]["trained"])


@both
def test_the_normalisations_are_there_to_be_realigned(name: str):
    model = onnx.load_from_string(graph(name))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("BatchNormalization") == kinds.count("Conv") + 1 == len(norms(model))
    assert "Softmax" not in kinds


@both
def test_the_file_names_its_classes(name: str):
    assert labels_in(onnx.load_from_string(graph(name))) == CLASSES


@both
@pytest.mark.parametrize("count", [1, 3, 16])
def test_any_number_of_pictures_at_once_and_each_alone_agree(name: str, count: int):
    engine = measure.loaded(graph(name), Cpu())
    pictures = np.random.default_rng(3).random((count, 3, 32, 32), np.float32)
    together = engine.run({"image": pictures})["logits"]
    alone = np.concatenate([engine.run({"image": picture[None]})["logits"] for picture in pictures])
    assert together.shape == (count, len(CLASSES))
    np.testing.assert_allclose(together, alone, atol=1e-4)


@both
@pytest.mark.parametrize("condition", ["day", "night", "fog", "blur", "noise"])
def test_accuracy_is_what_was_measured(name: str, condition: str, truth: measure.Truth):
    engine = measure.loaded(graph(name), Cpu())
    found = measure.right(engine, measure.under(condition, truth.images), truth.labels).mean()
    assert found == pytest.approx(MEASURED[name]["accuracy"][condition], abs=MARGIN)


def test_the_student_is_worth_serving_and_the_teacher_worth_asking():
    student, teacher = MEASURED["student"]["accuracy"], MEASURED["teacher"]["accuracy"]
    assert student["day"] >= 0.78
    for condition in ("night", "fog", "blur", "noise"):
        assert student[condition] <= student["day"] - 0.15, condition
        assert teacher[condition] >= student[condition] + 0.1, condition


def test_realignment_without_labels_regains_accuracy_in_the_dark(truth: measure.Truth):
    device, images = Cpu(), measure.under("night", truth.images)
    seen, judged = np.arange(SAMPLE) % 5 < 2, np.arange(SAMPLE) % 5 >= 2  # 200 pictures, every class among them
    before = measure.right(measure.loaded(graph("student"), device), images[judged], truth.labels[judged])
    repaired = measure.loaded(measure.realigned(graph("student"), images[seen], device), device)
    after = measure.right(repaired, images[judged], truth.labels[judged])
    assert after.mean() > before.mean() + 0.05


def test_the_page_tells_what_was_measured():
    page = (HERE / "README.md").read_text()
    assert measure.accuracy_table(MEASURED) in page
    assert measure.realign_table(MEASURED) in page


@pytest.mark.parametrize("condition", measure.CONDITIONS)
def test_conditions_work_on_thumbnails_and_repeat(condition: str):
    images = np.random.default_rng(5).integers(0, 256, (4, 32, 32, 3), np.uint8)
    given = images.copy()
    changed = measure.under(condition, images)
    assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(changed, measure.under(condition, images))
    np.testing.assert_array_equal(images, given)
    assert (condition == "day") == np.array_equal(changed, images)
