"""`python -m examples.junction.port`: the example's models into a repository, measured on this machine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from devices.cpu import Cpu
from examples.junction.samples import write_samples
from porting.errors import UserError
from porting.pipeline import port
from porting.repository.repository import Repository
from porting.samples import read_samples

FOLDER = Path(__file__).parent
MODELS = ("detector", "vehicles", "persons", "teacher")


def port_all(repository: Path, samples: Path, seed: int, cameras: int, say: Callable[[str], None]) -> None:
    """Draws labelled samples of the site into `samples`, then ports every model. Raises `UserError`."""
    say("drawing labelled samples of this site")
    zips = write_samples(samples, seed=seed, cameras=cameras)
    device, store = Cpu(), Repository(repository)
    for model in MODELS:
        path = FOLDER / "models" / f"{model}.onnx"
        if not path.exists():
            raise UserError(f"{path} is missing; train it: python -m examples.junction.train")
        labelled = read_samples(zips[model])[0] if model in zips else None
        report = port(path, model, store, device, samples=labelled)
        if not report.served:
            raise UserError(f"{model}: {'; '.join(report.gates)}")
        accuracy = f", {report.accuracy.top1:.1%} right by day" if report.accuracy else ""
        say(f"ported {model}: p99 {report.p99_ns / 1e6:.2f} ms a picture{accuracy}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, default=FOLDER / "repository")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cameras", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as samples:
        port_all(asked.repository, Path(samples), asked.seed, asked.cameras, print)


if __name__ == "__main__":
    main()
