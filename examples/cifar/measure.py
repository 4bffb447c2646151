"""Measure the example's networks: accuracy by condition, time, and what re-aligned normalisation regains. No torch.

    python -m examples.cifar.measure --data DIR --out examples/cifar

Trains nothing; renews the measured part of measured.json.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.cpu import Cpu
from devices.interface import Engine
from drift.repair.batch_norm import folded, probed
from drift.repair.inference import BackboneRunner
from drift.repair.realign_statistics import Realign
from examples.conditions import CONDITIONS, apply
from porting.images import prepare
from porting.samples import read_samples
from porting.variant import InputSpec

Array = NDArray[Any]

PICTURE = InputSpec("image", 32, 32)  # values 0..1: the network's first normalisation does the rest
TEST = "cifar10-test.zip"
BATCH = 100
SEED = 7  # of the conditions' chance and of the pictures drawn for re-alignment
REALIGNED_UNDER = ("night", "fog", "blur", "noise", "day")
REALIGN_PICTURES, JUDGED_PICTURES, REALIGN_DRAWS = 200, 2000, 3
TIMED_RUNS = 300


class Truth(NamedTuple):
    images: Array  # uint8 [n, 32, 32, 3]
    labels: Array  # int64 [n]
    names: tuple[str, ...]


def read_test(data: Path, limit: int = 1_000_000) -> Truth:
    """The test pictures, at most so many, evenly over the classes. Raises `UserError`."""
    samples, names = read_samples(data / TEST, limit=limit)
    return Truth(np.stack(list(samples.images)), samples.labels, names)


def under(condition: str, images: Array, severity: float = 1.0) -> Array:
    """All pictures under one condition, each with a chance of its own that depends on its place alone."""
    changed = [apply(image, condition, severity, np.random.default_rng([SEED, i])) for i, image in enumerate(images)]
    return np.stack(changed)


def right(engine: Engine, images: Array, labels: Array) -> Array:
    """bool [n]: which pictures the network names rightly."""
    chunks = range(0, len(images), BATCH)
    batches = (np.stack([prepare(image, PICTURE) for image in images[at : at + BATCH]]) for at in chunks)
    logits = np.concatenate([engine.run({PICTURE.name: batch})["logits"] for batch in batches])
    return np.asarray(logits.argmax(axis=1) == labels)


def median_ms(engine: Engine) -> float:
    """Of one picture on one thread."""
    picture = np.zeros((1, 3, 32, 32), np.float32)
    times = []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        engine.run({PICTURE.name: picture})
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1e3, 3)


def loaded(graph: bytes, device: Cpu) -> Engine:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(graph)
        return device.load(path)


def realigned(graph: bytes, images: Array, device: Cpu) -> bytes:
    """The graph with statistics from these pictures, as the daemon's response makes it."""
    forward = BackboneRunner(
        lambda given: loaded(given, device), PICTURE, "logits", time.perf_counter_ns, slice_ns=50_000_000
    )
    probe = probed(graph)
    work = Realign().measure(probe, images, forward)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return folded(graph, end.value)


def regained(graph: bytes, rights: Mapping[str, Array], truth: Truth, device: Cpu) -> dict[str, dict[str, float]]:
    """Per condition: accuracy without and with re-alignment, on pictures that were not used for it.

    rights: bool [n] by condition, which pictures the network names rightly as it is.
    """
    rng = np.random.default_rng(SEED)
    draws = [rng.permutation(len(truth.images)) for _ in range(REALIGN_DRAWS)]
    table = {}
    for condition in REALIGNED_UNDER:
        images = under(condition, truth.images)
        clean, drifted, after = [], [], []
        for order in draws:
            seen, judged = np.split(order[: REALIGN_PICTURES + JUDGED_PICTURES], [REALIGN_PICTURES])
            repaired = loaded(realigned(graph, images[seen], device), device)
            after.append(float(right(repaired, images[judged], truth.labels[judged]).mean()))
            clean.append(rights["day"][judged].mean())
            drifted.append(rights[condition][judged].mean())
        table[condition] = _row(float(np.mean(clean)), float(np.mean(drifted)), after)
    return table


def _row(clean: float, drifted: float, after: list[float]) -> dict[str, float]:
    mean = float(np.mean(after))
    row = {"before": clean, "drifted": drifted, "realigned": mean, "realigned_worst": min(after)}
    if clean - drifted > 0.02:  # a share of next to nothing says nothing
        row["regained"] = (mean - drifted) / (clean - drifted)
    return {name: round(value, 4) for name, value in row.items()}


def measure(path: Path, truth: Truth, *, realign: bool) -> dict[str, Any]:
    """Everything about one file that measured.json tells."""
    graph, device = path.read_bytes(), Cpu()
    engine = loaded(graph, device)
    rights = {c: right(engine, under(c, truth.images), truth.labels) for c in CONDITIONS}
    told: dict[str, Any] = {
        "file": path.name,
        "sha256": hashlib.sha256(graph).hexdigest(),
        "bytes": len(graph),
        "median_ms": median_ms(engine),
        "test": {"data": TEST, "pictures": len(truth.images), "severity": 1.0, "seed": SEED},
        "accuracy": {condition: round(float(found.mean()), 4) for condition, found in rights.items()},
    }
    if realign:
        table = regained(graph, rights, truth, device)
        how = {"pictures": REALIGN_PICTURES, "labels": 0, "judged_on": JUDGED_PICTURES, "draws": REALIGN_DRAWS}
        told["realign"] = {**how, "by_condition": table}
    return told


def record(out: Path, name: str, made: Mapping[str, Any] | None, data: Path) -> None:
    """Measure one network and write what came out; `made` tells how it was trained (None: as told before)."""
    file = out / "measured.json"
    table = json.loads(file.read_text()) if file.exists() else {}
    kept = table.get(name, {}).get("trained", {}) if made is None else dict(made)
    told = measure(out / f"{name}.onnx", read_test(data), realign=name == "student")
    table[name] = {**told, "trained": kept}
    file.write_text(json.dumps(table, indent=2) + "\n")
    _renew_page(out / "README.md", table)


def _renew_page(page: Path, table: Mapping[str, Any]) -> None:
    """The tables of the README come from the measurements, so that they cannot disagree."""
    if not page.exists():
        return
    text = page.read_text()
    for name, make in TABLES.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if start in text and end in text:
            before, rest = text.split(start, 1)
            text = before + start + make(table) + end + rest.split(end, 1)[1]
    page.write_text(text)


def accuracy_table(table: Mapping[str, Any]) -> str:
    names = [name for name in ("student", "teacher") if name in table]
    lines = [f"| condition | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for condition in CONDITIONS:
        cells = (f"{100 * table[name]['accuracy'][condition]:.1f} %" for name in names)
        lines.append(f"| {condition} | {' | '.join(cells)} |")
    size = (f"{table[name]['bytes'] / 1e6:.2f} MB" for name in names)
    speed = (f"{table[name]['median_ms']:.2f} ms" for name in names)
    return "\n".join([*lines, f"| size | {' | '.join(size)} |", f"| one picture | {' | '.join(speed)} |"]) + "\n"


def realign_table(table: Mapping[str, Any]) -> str:
    lines = ["| condition | before | drifted | re-aligned | regained |", "|---|---:|---:|---:|---:|"]
    for condition, row in table["student"]["realign"]["by_condition"].items():
        numbers = " | ".join(f"{100 * row[key]:.1f} %" for key in ("before", "drifted", "realigned"))
        share = f"{row['regained']:.0%}" if "regained" in row else ""
        lines.append(f"| {condition} | {numbers} | {share} |")
    return "\n".join(lines) + "\n"


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {"accuracy": accuracy_table, "realign": realign_table}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {TEST}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    wanted = parser.parse_args()
    for name in ("student", "teacher"):
        if (wanted.out / f"{name}.onnx").exists():
            record(wanted.out, name, None, wanted.data)


if __name__ == "__main__":
    main()
