"""The committed networks of the junction: their form, their size, and what they are said to reach."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import examples.junction
from examples.junction.drawing import PERSONS, VEHICLES
from examples.junction.measure import CLASSIFIERS, harvest, session, teacher_labels
from examples.junction.repair import Network, accuracy, realigned, tensor

HERE = Path(examples.junction.__file__).parent
LABELS = {
    "detector": ("vehicle", "person"),
    "vehicles": VEHICLES,
    "persons": PERSONS,
    "teacher": VEHICLES + PERSONS,
}
MEASURED = json.loads((HERE / "measured.json").read_text())
DRIFT = MEASURED["drift"]
FRESH_SEED = 4242
FRAMES = 64  # some 140 crops of each kind: a standard error of 2 points by day
MARGIN = 0.06


@pytest.fixture(scope="module")
def seen():
    detector = session(HERE / "models/detector.onnx")
    return {condition: harvest(detector, FRESH_SEED, condition, FRAMES, cameras=16) for condition in ("day", DRIFT)}


def answers(name, images):
    return session(HERE / f"models/{name}.onnx").run(None, {"image": tensor(images)})[0].argmax(1)


@pytest.mark.parametrize("name", sorted(LABELS))
def test_a_file_carries_its_labels_and_keeps_its_normalisations(name):
    model = onnx.load(HERE / f"models/{name}.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert tuple(json.loads(facts["labels"])) == LABELS[name]
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) >= 5
    assert not any(a.name == "training_mode" and a.i for node in model.graph.node for a in node.attribute)


@pytest.mark.parametrize("name", sorted(LABELS))
@pytest.mark.parametrize("batch", [1, 5])
def test_any_batch_gives_what_single_pictures_give(name, batch):
    run = session(HERE / f"models/{name}.onnx")
    shape = (batch, *run.get_inputs()[0].shape[1:])
    images = np.random.default_rng(0).random(shape, np.float32)
    together = run.run(None, {"image": images})[0]
    single = np.concatenate([run.run(None, {"image": one[None]})[0] for one in images])
    assert together.shape == ((batch, 6, 1200) if name == "detector" else (batch, len(LABELS[name])))
    np.testing.assert_allclose(together, single, rtol=1e-3, atol=1e-3)


def test_all_files_together_are_small():
    assert sum(path.stat().st_size for path in (HERE / "models").glob("*.onnx")) < 4e6


@pytest.mark.parametrize("condition", ["day", DRIFT])
def test_the_detector_finds_what_it_is_said_to_find(seen, condition):
    stated = MEASURED["conditions"][condition]
    assert stated["f1"] >= 0.9
    assert seen[condition].detection()["f1"] == pytest.approx(stated["f1"], abs=0.05)


@pytest.mark.parametrize(("kind", "name"), CLASSIFIERS.items())
def test_classifiers_reach_by_day_what_is_stated(seen, kind, name):
    images, labels = seen["day"].crops(kind)
    reached = np.mean(answers(name, images) == labels)
    assert reached == pytest.approx(MEASURED["conditions"]["day"][name], abs=MARGIN)


def test_the_drift_hits_a_fresh_world_alike(seen):
    # How hard differs from place to place, with its light and its people: wide margins.
    losses = {}
    for kind, name in CLASSIFIERS.items():
        day, drift = (np.mean(answers(name, seen[c].crops(kind)[0]) == seen[c].crops(kind)[1]) for c in ("day", DRIFT))
        losses[name] = day - drift
    assert losses["vehicles"] > 0.15
    assert losses["persons"] < min(0.2, losses["vehicles"])


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_teacher_knows_the_drift(seen, kind):
    images, labels = seen[DRIFT].crops(kind)
    assert np.mean(teacher_labels(session(HERE / "models/teacher.onnx"), kind, images) == labels) >= 0.9


def test_the_drift_spares_the_detector_hits_one_classifier_mildly_and_the_other_hard():
    day, drift = (MEASURED["conditions"][c] for c in ("day", DRIFT))
    assert day["f1"] - drift["f1"] < 0.05
    assert 0.03 < day["persons"] - drift["persons"] < 0.12
    assert day["vehicles"] - drift["vehicles"] >= 0.25


def test_the_stated_repairs_give_back_more_than_sixty_percent():
    row = MEASURED["repairs"]["vehicles"]
    assert row["regained by half"] > 0.75
    assert row["regained by half+head"] > 0.75
    assert row["half by day"] > row["none by day"] - 0.1


def test_realigned_statistics_repair_the_hit_classifier(seen):
    network = Network(onnx.load(HERE / "models/vehicles.onnx"))
    images, labels = seen[DRIFT].crops("vehicle")
    half = len(images) // 2
    repaired = realigned(network, images[:half], 0.5)
    head = (network.weight, network.bias)
    before = accuracy(network.run(network.features, images[half:]), head, labels[half:])
    after = accuracy(repaired.run(repaired.features, images[half:]), head, labels[half:])
    by_day = MEASURED["conditions"]["day"]["vehicles"]
    assert after - before > 0.6 * (by_day - before)
