"""Train the example's CNN and its teacher on CIFAR-10 pictures, export both, measure them. Needs the extra `train`.

    python -m examples.cifar.train --data DIR --out examples/cifar [--seed 7] [--minutes 8]

DIR holds cifar10-train.zip and cifar10-test.zip: class folders of 32x32 JPEG files.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.cifar.measure import record
from examples.cifar.network import SIDE, Network, load_weights, onnx_of
from porting.samples import read_samples

Pictures = NDArray[np.uint8]  # [n, 32, 32, 3], RGB
Spoil = Callable[[Pictures, np.random.Generator], Pictures]

BATCH = 128
SMALL_SIDE = 24  # crops to begin with: as good at that time, at half the price
PADDING = 4
CUTOUT = 10  # side of the patch that is hidden, pixels (DeVries and Taylor, 2017)
RATE_RISE = 0.25  # OneCycle (Smith and Topin, 2018): where the peak of the learning rate lies
DECAY, SMOOTHING = 5e-4, 0.1
SPOILT = ("dusk", "night", "rain", "fog", "snow", "noise", "blur", "dirty_lens")


@dataclass(frozen=True)
class Plan:
    """How one network is trained. `share`: of --minutes. `small_until`: of all steps, on small crops."""

    name: str
    widths: tuple[int, int, int]
    rate_max: float
    small_until: float
    share: float = 1.0
    spoil: Spoil | None = None
    begins_as: str | None = None  # the network, trained before, whose weights it starts from


def spoil_some(images: Pictures, rng: np.random.Generator) -> Pictures:
    """Two pictures in three get a condition of random severity: what makes the teacher hold up when the world turns."""
    from examples.conditions import apply

    out = images.copy()
    for i in np.flatnonzero(rng.random(len(images)) < 2 / 3):
        out[i] = apply(images[i], str(rng.choice(SPOILT)), float(rng.uniform(0.3, 1.2)), rng)
    return out


WIDTHS = (24, 48, 96)
PLANS = (
    Plan("student", WIDTHS, 0.2, 0.5),
    Plan("teacher", WIDTHS, 0.1, 0.3, share=0.5, spoil=spoil_some, begins_as="student"),
)


def augmented(images: Pictures, side: int, rng: np.random.Generator) -> Pictures:
    """Each picture moved, mirrored by chance, a patch hidden, cut to side x side."""
    padded = np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)), mode="reflect")
    room = padded.shape[1] - side + 1
    out = np.empty((len(images), side, side, 3), np.uint8)
    draws = zip(rng.integers(0, room, (len(images), 2)), rng.random(len(images)) < 0.5, strict=True)
    for i, ((top, left), mirror) in enumerate(draws):
        cut = padded[i, top : top + side, left : left + side]
        out[i] = cut[:, ::-1] if mirror else cut
    hide = CUTOUT * side // SIDE
    for i, (top, left) in enumerate(rng.integers(0, side - hide // 2, (len(images), 2))):
        out[i, top : top + hide, left : left + hide] = 122
    return out


def tensor(images: Pictures) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)  # channels last in memory: faster here


def batches(count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows, epoch after epoch, for ever."""
    while True:
        order = rng.permutation(count)
        yield from (order[at : at + BATCH] for at in range(0, count - BATCH + 1, BATCH))


class Training:
    """One network, its optimiser, its chance."""

    def __init__(self, plan: Plan, images: Pictures, labels: NDArray[np.int64], classes: int, seed: int):
        torch.manual_seed(seed)
        self.plan, self.images, self.labels = plan, images, torch.from_numpy(labels)
        self.rng = np.random.default_rng(seed)
        self.network = Network(plan.widths, classes).to(memory_format=torch.channels_last)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        free = [p for p in self.network.parameters() if p.ndim == 1]
        groups = [{"params": decayed, "weight_decay": DECAY}, {"params": free, "weight_decay": 0.0}]
        self.optimiser = torch.optim.SGD(groups, plan.rate_max, momentum=0.9, nesterov=True)
        self.loss = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)

    def step(self, rows: NDArray[np.int64], side: int, rate: float) -> float:
        images = self.images[rows]
        images = self.plan.spoil(images, self.rng) if self.plan.spoil else images
        x = tensor(augmented(images, side, self.rng))
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.loss(self.network(x), self.labels[rows])
        self.optimiser.zero_grad()
        loss.backward()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        return float(loss.detach())

    def run(self, steps: int) -> None:
        began, mean = time.monotonic(), math.nan
        self.network.train()
        for i, rows in zip(range(steps), batches(len(self.images), self.rng), strict=False):
            done = i / steps
            side = SMALL_SIDE if done < self.plan.small_until else SIDE
            loss = self.step(rows, side, self.plan.rate_max * rate_at(done))
            mean = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
            if i % 100 == 0 or i == steps - 1:
                print(f"{self.plan.name} step {i}/{steps} loss {mean:.3f} {time.monotonic() - began:.0f} s", flush=True)
        self.network.eval()


def rate_at(done: float) -> float:
    """Share of the highest learning rate at 0..1 of the training: up in a straight line, down by a cosine."""
    if done < RATE_RISE:
        return 0.05 + 0.95 * done / RATE_RISE
    return 0.5 * (1 + math.cos(math.pi * (done - RATE_RISE) / (1 - RATE_RISE)))


def affordable_steps(minutes: float, plan: Plan, images: Pictures, labels: NDArray[np.int64], seed: int) -> int:
    """Steps in so many minutes of this machine's processor time, tried out on a network that is thrown away."""
    trial = Training(plan, images, labels, 10, seed)
    spent = []
    for side in (SMALL_SIDE, SIDE):
        times = []
        for _ in range(8):
            began = time.process_time()
            trial.step(np.arange(BATCH), side, 0.01)
            times.append(time.process_time() - began)
        spent.append(float(np.median(times)))
    mean = plan.small_until * spent[0] + (1 - plan.small_until) * spent[1]
    return round(minutes * plan.share * 60 / mean)


def train(plan: Plan, data: Path, out: Path, seed: int, minutes: float, steps: int | None) -> dict[str, Any]:
    """One network from pictures to file. Returns how it was made."""
    samples, names = read_samples(data / "cifar10-train.zip", limit=1_000_000)
    images, labels = np.stack(samples.images), samples.labels
    steps = steps or affordable_steps(minutes, plan, images, labels, seed)
    began = time.monotonic()
    training = Training(plan, images, labels, len(names), seed)
    if plan.begins_as:
        load_weights(training.network, (out / f"{plan.begins_as}.onnx").read_bytes())
    training.run(steps)
    (out / f"{plan.name}.onnx").write_bytes(onnx_of(training.network, names))
    return {
        "script": "examples/cifar/train.py",
        "seed": seed,
        "data": "cifar10-train.zip",
        "pictures": len(images),
        "steps": steps,
        "epochs": round(steps * BATCH / len(images), 1),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in training.network.parameters()),
        "begins_as": plan.begins_as,
        "conditions": list(SPOILT) if plan.spoil else [],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10-train.zip and cifar10-test.zip")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="processor time; the teacher takes half as much again"
    )
    parser.add_argument("--steps", type=int, help="instead of --minutes; the numbers of a run are in measured.json")
    parser.add_argument("--only", choices=[plan.name for plan in PLANS])
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    for plan in PLANS:
        if wanted.only in (None, plan.name):
            made = train(plan, wanted.data, wanted.out, wanted.seed, wanted.minutes, wanted.steps)
            record(wanted.out, plan.name, made, wanted.data)


if __name__ == "__main__":
    main()
