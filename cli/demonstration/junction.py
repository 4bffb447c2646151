"""Runs the demo on the drawn junction: a detector, two classifiers of its detections, a teacher;
all ported to this machine first.
"""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import yaml

from cli.demonstration.recorder import MessageRecorder
from cli.demonstration.show import Settings


class Junction:
    """Provides the demo with the drawn junction."""

    drift = "night*0.75"

    def port(self, settings: Settings, progress: Callable[[str], None]) -> None:
        from examples.junction.port import port_all

        port_all(settings.folder / "repository", settings.folder / "samples", settings.seed, settings.cameras, progress)

    def config(self, settings: Settings) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(files("examples.junction").joinpath("edge.yaml").read_text())
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

    def heard(self, kind: str, table: dict[str, Any], recorder: MessageRecorder) -> None: ...

    def tick(self, recorder: MessageRecorder) -> None: ...
