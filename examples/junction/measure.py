"""Measures the example's networks as the daemon will see them: on crops cut from the detector's boxes.

python -m examples.junction.measure [--models DIR] [--out measured.json] [--frames 320] [--drift night*0.75]

Prints accuracy per condition and what each repair gives back; needs NumPy, OpenCV and ONNX Runtime, no PyTorch.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from edge.sources.camera.frames import encoded
from examples.junction.data import LABELS, square
from examples.junction.drawing import PERSONS, VEHICLES
from examples.junction.repair import Network, accuracy, realigned, retrained, tensor
from examples.junction.scene import Junction
from porting.formats.tensors import boxes, overlap
from porting.images import decode
from porting.variant import OutputSpec

DRIFT = "night*0.75"
CONDITIONS = ("day", "dusk", "night", "fog", "rain", "snow", "noise", "blur", "dirty_lens")
CLASSIFIERS = {"vehicle": "vehicles", "person": "persons"}
SPEC = OutputSpec("detection", tuple(LABELS), "boxes")
HELD_OUT, ADAPTED_ON = 90_001, 90_002  # seeds of worlds that no training has seen
LABELLED = 200
FRAMES = 320
# Name: how much the new statistics weigh beside the old ones, and whether the head learns.
REPAIRS = {
    "none": (0.0, False),
    "statistics": (1.0, False),
    "half": (0.5, False),
    "head": (0.0, True),
    "half+head": (0.5, True),
}


@dataclass
class Harvest:
    """What a run over some frames gives: detections counted, and the crops of those that were right."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    images: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    labels: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def crops(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        return np.stack(self.images[kind]), np.array(self.labels[kind])

    def detection(self) -> dict[str, float]:
        precision, recall = self.right / max(1, self.right + self.wrong), self.right / max(1, self.right + self.missed)
        return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / max(1e-9, precision + recall)}


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def harvest(detector: ort.InferenceSession, seed: int, schedule: str, frames: int, cameras: int = 16) -> Harvest:
    """Runs the detector over `frames` frames of a world that nobody trained on, JPEG and all."""
    result = Harvest()
    for camera in range(cameras):
        junction = Junction(camera, seed, schedule=schedule)
        for index in range(0, 7 * (frames // cameras), 7):
            image, objects, _ = junction.frame(index)
            picture = decode(encoded(image))
            output = detector.run(None, {"image": tensor(picture[None])})[0][0]
            _compare(result, picture, boxes(output, SPEC), objects)
    return result


def _compare(result: Harvest, picture: np.ndarray, found: list[Any], objects: list[dict[str, Any]]) -> None:
    """Greedy matching, best score first, at an overlap of 0.5 within a kind."""
    free = list(objects)
    for one in found:
        same = [o for o in free if o["kind"] == one.label]
        shared = overlap(np.array([one.corners]), np.array([o["box"] for o in same]).reshape(-1, 4))[0]
        if len(same) == 0 or shared.max() < 0.5:
            result.wrong += 1
            continue
        match = same[int(shared.argmax())]
        free.remove(match)
        result.right += 1
        result.images[one.label].append(square(picture, one.corners))
        result.labels[one.label].append(LABELS[one.label].index(match["label"]))
    result.missed += len(free)


def teacher_labels(teacher: ort.InferenceSession, kind: str, images: np.ndarray) -> np.ndarray:
    """The teacher's answer among the labels of one kind, as numbers of that kind's classifier."""
    logits = teacher.run(None, {"image": tensor(images)})[0]
    first = 0 if kind == "vehicle" else len(VEHICLES)
    return logits[:, first : first + len(VEHICLES if kind == "vehicle" else PERSONS)].argmax(1)


def per_condition(models: Path, conditions: list[str], frames: int) -> dict[str, dict[str, float]]:
    sessions = {name: session(models / f"{name}.onnx") for name in ("detector", "vehicles", "persons", "teacher")}
    table = {}
    for condition in conditions:
        seen = harvest(sessions["detector"], HELD_OUT, condition, frames)
        row = seen.detection()
        for kind, name in CLASSIFIERS.items():
            images, labels = seen.crops(kind)
            row[name] = float(np.mean(sessions[name].run(None, {"image": tensor(images)})[0].argmax(1) == labels))
            row[f"teacher_{name}"] = float(np.mean(teacher_labels(sessions["teacher"], kind, images) == labels))
        table[condition] = row
    return table


def repairs(models: Path, drift: str, frames: int) -> dict[str, dict[str, float]]:
    """Accuracy on held-out drifted crops, and on held-out crops by day, before and after each of `REPAIRS`.

    The adaptation sees `LABELLED` crops of another world (other places, other people), labelled by the teacher.
    """
    detector, teacher = session(models / "detector.onnx"), session(models / "teacher.onnx")
    test, new, day, day_test = (
        harvest(detector, seed, condition, frames)
        for seed, condition in ((HELD_OUT, drift), (ADAPTED_ON, drift), (ADAPTED_ON, "day"), (HELD_OUT, "day"))
    )
    table = {}
    for kind, name in CLASSIFIERS.items():
        rng = np.random.default_rng(1)
        fresh = new.crops(kind)[0]
        fresh = fresh[rng.permutation(len(fresh))[:LABELLED]]
        labelled = (fresh, teacher_labels(teacher, kind, fresh))
        network = Network(onnx.load(models / f"{name}.onnx"))
        row = {}
        for how, (weight, learns) in REPAIRS.items():
            body = realigned(network, fresh, weight) if weight else network
            head = (network.weight, network.bias)
            if learns:
                replay = day.crops(kind)
                head = retrained(head, *((body.run(body.features, x), y) for x, y in (labelled, replay)), rng)
            for where, sample in (("", test), (" by day", day_test)):
                images, labels = sample.crops(kind)
                row[f"{how}{where}"] = accuracy(body.run(body.features, images), head, labels)
        loss = row["none by day"] - row["none"]
        row |= {f"regained by {how}": (row[how] - row["none"]) / max(loss, 1e-9) for how in list(REPAIRS)[1:]}
        table[name] = row
    return table


def costs(models: Path) -> dict[str, dict[str, float]]:
    """Bytes of each file and milliseconds of one picture, median of 50, one thread."""
    table = {}
    for path in sorted(models.glob("*.onnx")):
        run = session(path)
        shape = run.get_inputs()[0].shape[1:]
        x, times = np.zeros((1, *shape), np.float32), []
        for _ in range(50):
            started = time.perf_counter()
            run.run(None, {"image": x})
            times.append((time.perf_counter() - started) * 1e3)
        table[path.stem] = {"bytes": path.stat().st_size, "ms": float(np.median(times))}
    return table


def shown(title: str, table: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(table.values())))
    print(f"\n{title}\n{'':18s}" + "".join(f"{c[:22]:>23s}" for c in columns))
    for name, row in table.items():
        print(f"{name:18s}" + "".join(f"{row[c]:23.3f}" for c in columns))


def measured(models: Path, drift: str = DRIFT, frames: int = FRAMES, also: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that is stated about the networks in `models`, and with what it was measured."""
    conditions = list(dict.fromkeys([*CONDITIONS, drift, *also]))
    return {
        "seeds": {"held_out": HELD_OUT, "adapted_on": ADAPTED_ON},
        "frames": frames,
        "drift": drift,
        "conditions": per_condition(models, conditions, frames),
        "repairs": repairs(models, drift, frames),
        "costs": costs(models),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--models", type=Path, default=Path(__file__).parent / "models")
    arguments.add_argument("--out", type=Path, help="write the tables there as JSON; what it says of training stays")
    arguments.add_argument("--frames", type=int, default=FRAMES)
    arguments.add_argument("--drift", default=DRIFT)
    arguments.add_argument("--also", default="", help="more conditions, separated by commas")
    given = arguments.parse_args()
    result = measured(given.models, given.drift, given.frames, [c for c in given.also.split(",") if c])
    shown("Detector at IoU 0.5; classifiers on the crops it finds", result["conditions"])
    shown(f"Repairs after {given.drift}, {LABELLED} crops labelled by the teacher", result["repairs"])
    shown("Costs", result["costs"])
    if given.out:
        before = json.loads(given.out.read_text()) if given.out.exists() else {}
        given.out.write_text(json.dumps({**before, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
