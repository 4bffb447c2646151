"""Train the example's four networks and export them. Needs the extra `train`; takes some minutes a core.

python -m examples.junction.train --out examples/junction/models --seed 7 [--only detector,vehicles,persons,teacher]
python -m examples.junction.measure --out examples/junction/measured.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from examples.junction.data import AFTERNOON, ALL_WEATHER, LABELS, NOON, Frame, frames, true_crops
from examples.junction.drawing import PERSONS, VEHICLES
from examples.junction.models import HEIGHT, STRIDE, WIDTH, Classifier, Detector, export

MODELS = ("vehicles", "persons", "teacher", "detector")
FRAMES = {"classifier": 2600, "teacher": 2800, "detector": 2200}
EPOCHS = {"classifier": 10, "teacher": 7, "detector": 8}
WIDTHS = {"vehicles": (12, 24, 40, 48), "persons": (12, 24, 40, 48), "teacher": (24, 48, 80, 112)}
LIGHT = {"vehicles": NOON, "persons": AFTERNOON}
Batches = Callable[[np.random.Generator], Iterator[tuple[Tensor, ...]]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "models")
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--only", default=",".join(MODELS), help="which networks, separated by commas")
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only.split(","):
        torch.manual_seed(given.seed)
        started = time.perf_counter()
        if name == "detector":
            export(train_detector(given.seed), given.out / "detector.onnx", (HEIGHT, WIDTH), tuple(LABELS), "boxes")
        elif name == "teacher":
            model = train_teacher(given.seed)
            export(model, given.out / "teacher.onnx", (32, 32), VEHICLES + PERSONS, "logits")
        else:
            kind = {"vehicles": "vehicle", "persons": "person"}[name]
            model = train_student(name, kind, given.seed)
            export(model, given.out / f"{name}.onnx", (32, 32), LABELS[kind], "logits")
        seconds = time.perf_counter() - started
        print(f"{name}: {seconds:.0f} s", flush=True)
        note(given.out.parent / "measured.json", name, given.seed, round(seconds))


def note(path: Path, name: str, seed: int, seconds: int) -> None:
    """Adds how a network was trained to the file of measurements; `examples.junction.measure --out` adds the rest."""
    facts = json.loads(path.read_text()) if path.exists() else {}
    weather = ALL_WEATHER if name in ("teacher", "detector") else LIGHT[name]
    size = name if name in FRAMES else "classifier"
    facts.setdefault("training", {})[name] = {
        "script": "python -m examples.junction.train",
        "seed": seed,
        "frames": FRAMES[size],
        "epochs": EPOCHS[size],
        "conditions": [f"{condition} {low:g}-{high:g}" for condition, low, high in weather],
        "seconds": seconds,
        "torch": torch.__version__,
    }
    path.write_text(json.dumps(facts, indent=1) + "\n")


def train_student(name: str, kind: str, seed: int) -> nn.Module:
    """A classifier that has seen the day and a little of the afternoon."""
    rng = np.random.default_rng([seed, 1])
    shots = frames(1000 + seed, FRAMES["classifier"], LIGHT[name])
    images, labels = true_crops(shots, kind, rng)
    print(f"{name}: {len(images)} crops", flush=True)
    model = Classifier(len(LABELS[kind]), WIDTHS[name])
    return fit(model, crop_batches(images, labels), cross_entropy(model), EPOCHS["classifier"], len(images) // 64, seed)


def train_teacher(seed: int) -> nn.Module:
    """One bigger classifier of both kinds that has seen every weather."""
    rng = np.random.default_rng([seed, 2])
    shots = list(frames(2000 + seed, FRAMES["teacher"], ALL_WEATHER))
    vehicles, types = true_crops(iter(shots), "vehicle", rng)
    persons, activities = true_crops(iter(shots), "person", rng)
    images, labels = np.concatenate([vehicles, persons]), np.concatenate([types, activities + len(VEHICLES)])
    print(f"teacher: {len(images)} crops", flush=True)
    model = Classifier(len(VEHICLES + PERSONS), WIDTHS["teacher"])
    return fit(model, crop_batches(images, labels), cross_entropy(model), EPOCHS["teacher"], len(images) // 64, seed)


def train_detector(seed: int) -> nn.Module:
    shots = list(frames(3000 + seed, FRAMES["detector"], ALL_WEATHER))
    images = torch.from_numpy(np.stack([shot.image for shot in shots]))
    targets = torch.from_numpy(np.stack([cells_of(shot) for shot in shots]))
    print(f"detector: {len(images)} frames", flush=True)

    def batches(rng: np.random.Generator, size: int = 16) -> Iterator[tuple[Tensor, ...]]:
        for chosen in np.array_split(rng.permutation(len(images)), len(images) // size):
            x, y = images[chosen].permute(0, 3, 1, 2).float() / 255, targets[chosen]
            if rng.random() < 0.5:  # mirrored: left and right change places
                x, y = x.flip(3), y.flip(3)[:, [0, 1, 4, 3, 2, 5]]
            yield x, y.flatten(2)

    model = Detector()
    return fit(model, batches, lambda x, y: detection_loss(model, x, y), EPOCHS["detector"], len(images) // 16, seed)


def crop_batches(images: np.ndarray, labels: np.ndarray, size: int = 64) -> Batches:
    pixels, answers = torch.from_numpy(images), torch.from_numpy(labels)

    def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
        for chosen in np.array_split(rng.permutation(len(pixels)), len(pixels) // size):
            x = pixels[chosen].permute(0, 3, 1, 2).float() / 255
            gain = torch.from_numpy(rng.uniform(0.9, 1.1, (len(x), 1, 1, 1)).astype(np.float32))
            x = (x * gain).clamp(0, 1)
            yield (x.flip(3) if rng.random() < 0.5 else x), answers[chosen]

    return batches


def cross_entropy(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: nn.functional.cross_entropy(model(x), y, label_smoothing=0.03)


def fit(
    model: nn.Module, batches: Batches, loss_of: Callable[..., Tensor], epochs: int, steps: int, seed: int
) -> nn.Module:
    """AdamW under one rise and fall of the learning rate."""
    rng = np.random.default_rng([seed, 9])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=4e-3, total_steps=epochs * steps + 1, pct_start=0.2
    )
    model.train()
    for epoch in range(epochs):
        started, losses = time.perf_counter(), []
        for batch in batches(rng):
            loss = loss_of(*batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - started
        print(f"  epoch {epoch + 1}/{epochs}: loss {sum(losses) / len(losses):.4f}, {seconds:.0f} s", flush=True)
    return model


def cells_of(shot: Frame) -> np.ndarray:
    """What each cell shall say, float32 [6, 30, 40]: kind (-1 nothing, -2 do not care), 0, then the four distances.

    A cell belongs to an object when its middle lies in the inner half of the box; those in front win.
    """
    rows, columns = HEIGHT // STRIDE, WIDTH // STRIDE
    cells = np.zeros((6, rows, columns), np.float32)
    cells[0] = -1
    xs, ys = np.arange(columns) * STRIDE + STRIDE / 2, np.arange(rows)[:, None] * STRIDE + STRIDE / 2
    for one in shot.seen:
        x1, y1, x2, y2 = one.box
        near_x, near_y = max(0.25 * (x2 - x1), STRIDE * 0.55), max(0.25 * (y2 - y1), STRIDE * 0.55)
        inner = (abs(xs - (x1 + x2) / 2) <= near_x) & (abs(ys - (y1 + y2) / 2) <= near_y)
        if not one.listed:
            cells[0][inner & (cells[0] == -1)] = -2
            continue
        cells[0][inner] = tuple(LABELS).index(one.kind)
        sides = np.broadcast_arrays(xs - x1, ys - y1, x2 - xs, y2 - ys)
        for row, side in enumerate(sides):
            cells[2 + row][inner] = np.broadcast_to(side, (rows, columns))[inner]
    return cells


def detection_loss(model: Detector, x: Tensor, y: Tensor) -> Tensor:
    """Quality focal loss on the scores (the target is the overlap reached) plus generalised IoU on the boxes."""
    sides, logits = model.raw(x)
    kind = y[:, 0]
    hit = kind >= 0
    overlap, generalised = overlaps(sides.permute(0, 2, 1)[hit], y[:, 2:].permute(0, 2, 1)[hit])
    wanted = torch.zeros_like(logits)
    where = hit.nonzero()
    # Scores follow quality, but not below 0.5: the best cell of a hard object shall still pass the threshold.
    wanted[where[:, 0], kind[hit].long(), where[:, 1]] = overlap.detach().clamp(0.5, 1)
    weight = (wanted - logits.sigmoid()).abs().detach() ** 1.5 * (kind != -2).unsqueeze(1)
    scores = nn.functional.binary_cross_entropy_with_logits(logits, wanted, weight=weight, reduction="sum")
    found = max(1, int(hit.sum()))
    return (scores + 1.5 * (1 - generalised).sum()) / found


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes given as distances (left, top, right, bottom) from one point, [n, 4] each."""
    area_a = (a[:, 0] + a[:, 2]) * (a[:, 1] + a[:, 3])
    area_b = (b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3]).clamp(min=0)
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    shared = (low[:, 0] + low[:, 2]).clamp(min=0) * (low[:, 1] + low[:, 3]).clamp(min=0)
    union = area_a + area_b - shared
    hull = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


if __name__ == "__main__":
    main()
