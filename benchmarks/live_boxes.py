"""Builds boxes to run in real and in virtual time: four models on a simulated lane, and the junction's on this CPU."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import yaml

from benchmarks.rig import mobile_net
from cli.planning.run import pictures
from devices.simulated import Simulated
from edge.config import Config, load
from evaluation.arrivals.registry import process, streams
from evaluation.arrivals.request import Arrival, by_time
from evaluation.capacity.dry_run import DryRun, dry_run
from evaluation.capacity.search import CapacityQuestion, scenario_of
from evaluation.presets import EDGE4, Profile, capacity_rps
from porting.pipeline import port
from porting.repository.repository import Repository

SECOND_NS = 1_000_000_000
REHEARSAL_S = 6.0
JUNCTION = Path(__file__).parent.parent / "examples" / "junction"
BATCHES = (1, 2, 4, 8, 16)
STRETCH = 3.0  # of the preset's durations and deadlines: fewer frames a second, so that Python has time for each
CAMERAS = 16  # that ask for one model: a stream keeps at most 32 open
LABELS = [f"class {number}" for number in range(10)]


@dataclass(frozen=True)
class Box:
    """Describes a box to run. `path`: its edge.yaml. `rates`: frames a second of each stream at load 1.0. `cameras`:
    how many cameras share the frames of a stream.
    """

    name: str
    path: Path
    rates: Mapping[str, float]
    cameras: int
    shots: Sequence[bytes]
    dry_run: DryRun

    def tried_again(self) -> "Box":
        """Returns the box with a new dry run: a machine that does other things as well changes
        from minute to minute.
        """
        return replace(self, dry_run=dry_run(self.config, self.shots, REHEARSAL_S, network=False))

    @property
    def config(self) -> Config:
        return load(self.path)

    def arrivals(self, kind: str, load: float, seed: int, seconds: float) -> list[Arrival]:
        """Returns frames in order of time; the config of a stream names its app."""
        rates = {stream: load * rate for stream, rate in self.rates.items()}
        times = streams(process(kind), self.name, rates, seed, round(seconds * SECOND_NS))
        return by_time(self._dealt(times))

    def _dealt(self, times: Mapping[str, Any]) -> Iterable[Arrival]:
        for stream, at_ns in times.items():
            for number, time_ns in enumerate(at_ns.tolist()):
                camera = f"{stream}-{number % self.cameras}" if self.cameras > 1 else stream
                yield Arrival(time_ns, camera, "", None)


# ---- lanes that only wait ------------------------------------------------------------------------------------------


def simulated(folder: Path, system: str) -> Box:
    """Returns the four models of `edge4`, everything `STRETCH` times as long."""
    profiles = {model: stretched(profile) for model, profile in EDGE4.items()}
    tables = {ported(folder, model, profile): table_of(profile) for model, profile in profiles.items()}
    single = "edge.answers.single:Single"
    path = written(folder, {
        "models": "repository",
        "devices": {"sim0": {"use": "devices.simulated:Simulated", "ms_by_graph": tables}},
        "system": system,
        "apps": {model: {"use": single, "model": model, "slo_ms": p.slo_ms} for model, p in profiles.items()},
        "streams": {f"{m}-{k}": {"apps": [m], "waiting_max": 32} for m in profiles for k in range(CAMERAS)},
    })  # fmt: skip
    rates = {model: p.share * capacity_rps(profiles) for model, p in profiles.items()}
    shots = [simplejpeg.encode_jpeg(np.full((16, 16, 3), 5 * n, np.uint8), 90, "RGB", "444") for n in range(50)]
    return Box("simulated", path, rates, CAMERAS, shots, dry_run(load(path), shots, REHEARSAL_S, network=False))


def stretched(p: Profile) -> Profile:
    return Profile(STRETCH * p.ms_per_item, STRETCH * p.ms_per_batch, STRETCH * p.slo_ms, p.share)


def table_of(profile: Profile) -> dict[int, float]:
    return {batch: profile.ms_per_item * batch + profile.ms_per_batch for batch in BATCHES}


def ported(folder: Path, model: str, profile: Profile) -> str:
    """Ports a tiny classifier, measured on a simulated device of this profile, and returns the digest of its graph."""
    repository, device = Repository(folder / "repository"), Simulated(ms_by_batch={**table_of(profile)})
    path = mobile_net(folder / f"{model}.onnx", 16, 2 + [*EDGE4].index(model), 1)
    if repository.serving(model) is None:
        port(path, model, repository, device, labels=LABELS, cut=False, batches=BATCHES, budget_ns=1)
    variant = repository.variant(model, str(repository.serving(model)))
    return repository.stages(variant, device.kind)[0].graph


# ---- this machine's CPU --------------------------------------------------------------------------------------------


def cpu(folder: Path, system: str) -> Box:
    """Returns the junction's models, as `python -m examples.junction.port` stored them; nothing watches for drift."""
    table = yaml.safe_load((JUNCTION / "edge.yaml").read_text())
    table |= {"models": str(JUNCTION / "repository"), "system": system, "drift": None}
    table["streams"] = {"*": {"apps": ["junction"], "waiting_max": 4}}
    path, shots = (
        written(folder, {key: value for key, value in table.items() if value is not None}),
        pictures("junction"),
    )
    tried = dry_run(load(path), shots, REHEARSAL_S, network=False)
    one = scenario_of(CapacityQuestion(path, tried, fps=1.0), 1, 0)
    cameras = [f"camera-{number}" for number in range(8)]
    return Box("cpu", path, dict.fromkeys(cameras, 1 / one.facts["load"] / len(cameras)), 1, shots, tried)


def written(folder: Path, table: Mapping[str, Any]) -> Path:
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump({**table, "mqtt": {"port": 1, "node": "box"}}))
    return path
