"""The drawn junction: a detector, two classifiers of what it finds, a teacher; ported to this machine first."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cli.demonstration.recorder import Recorder
from cli.demonstration.show import Settings
from porting.errors import UserError

MODELS = ("detector", "vehicles", "persons", "teacher")


class Junction:
    """Scene of the show."""

    drift = "night"

    def port(self, settings: Settings, progress: Callable[[str], None]) -> None:
        from devices.cpu import Cpu
        from examples.junction.samples import write_samples
        from porting.pipeline import port
        from porting.repository import Repository
        from porting.samples import read_samples

        repository, device = Repository(settings.folder / "repository"), Cpu()
        progress("drawing labelled samples of this site")
        sample_zips = write_samples(settings.folder / "samples", seed=settings.seed, cameras=settings.cameras)
        for model in MODELS:
            samples = read_samples(sample_zips[model])[0] if model in sample_zips else None
            report = port(example(f"models/{model}.onnx"), model, repository, device, samples=samples)
            if not report.served:
                raise UserError(f"{model}: {'; '.join(report.gates)}")
            accuracy = f", accuracy {report.accuracy.top1:.1%}" if report.accuracy else ""
            progress(f"ported {model}: p99 {report.p99_ns / 1e6:.2f} ms{accuracy}")

    def config(self, settings: Settings) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(example("edge.yaml").read_text())
        config["drift"]["streams"] = settings.cameras
        return config

    def cameras(self, settings: Settings) -> list[str]:
        return ["junction", "-o", f"schedule={settings.schedule()}", "--seed", str(settings.seed)]

    def about(self, settings: Settings) -> dict[str, Any]:
        return {
            "classify": {"vehicle": "vehicles", "person": "persons"},
            "detector": "detector",
            "models": ["detector", "vehicles", "persons"],
            "labels": "the teacher model",
        }

    def heard(self, kind: str, table: dict[str, Any], recorder: Recorder) -> None: ...

    def tick(self, recorder: Recorder) -> None: ...


def example(name: str) -> Path:
    path = Path(str(files("examples.junction").joinpath(name)))
    if not path.exists():
        raise UserError(f"{path} is missing; reinstall leeway, or train it: python -m examples.junction.train")
    return path
