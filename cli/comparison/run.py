"""Makes the scenarios of a comparison from a preset, an edge.yaml, a trace file or a recording, at any load."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cli.comparison.options import Make, processes
from edge.config import load as read_config
from evaluation.arrivals.from_config import Cameras, from_config
from evaluation.arrivals.recording import scenario_of
from evaluation.arrivals.trace_files import kind_of, text_of
from evaluation.presets import PRESETS, disb, preset, traced
from evaluation.requirements import offered
from evaluation.scenario import Scenario
from porting.errors import UserError

DEFAULT = "edge4"
SHORT_S = 1.0  # enough to see what a preset has, and what a camera asks for
RECORDING = '{"now"'  # how a trace of the daemon begins


def source(
    box: str, config: Path | None, trace: Path | None, arrivals: str, duration_s: float, margin: float
) -> tuple[Make, list[str]]:
    """Returns what makes the scenarios, and the arrival processes to make them with. Raises `UserError`."""
    if config is not None and box:
        raise UserError("--preset and --config: name one box, not two")
    if trace is not None:
        return of_trace(trace, box, config, duration_s, margin), [trace.stem]
    make = of_config(config, duration_s) if config else of_preset(box or DEFAULT, duration_s, margin)
    return make, processes(arrivals)


def of_preset(name: str, duration_s: float, margin: float) -> Make:
    """Returns what makes scenarios of a preset. Raises `UserError` for an unknown name."""
    preset(name, 1.0, "poisson", 0, SHORT_S, margin)
    return lambda load, arrivals, seed: preset(name, load or 1.0, arrivals, seed, duration_s, margin)


def of_config(path: Path, duration_s: float) -> Make:
    """Returns what makes scenarios of an edge.yaml, with the cameras' frame rate that makes the load.

    Raises `UserError` where the file or its models cannot be used.
    """
    usual = Cameras()
    asks: float = from_config(path, usual, duration_s=duration_s).facts["load"]  # of a device, at that rate

    def make(load: float | None, arrivals: str, seed: int) -> Scenario:
        fps = usual.fps if load is None else usual.fps * load / asks
        made = from_config(path, replace(usual, fps=fps, arrivals=arrivals), seed, duration_s)
        return replace(made, facts={**made.facts, "load": asks if load is None else load})

    return make


def of_trace(file: Path, box: str, config: Path | None, duration_s: float, margin: float) -> Make:
    """Returns what makes scenarios of a trace file on the named box, else on the box that the file itself describes.

    Raises `UserError` where the file cannot be read or does not fit the box.
    """
    text = text_of(file)
    if text.lstrip().startswith(RECORDING):
        return of_recording(file, config)
    if not box and config is None and kind_of(file, text.splitlines()) == "disb":
        return lambda load, _, seed: disb(file, load or 1.0, seed, margin=margin)
    make = of_config(config, duration_s) if config else of_preset(box or DEFAULT, duration_s, margin)
    empty = make(1.0, "poisson", 0)
    return lambda load, _, seed: traced(file, empty, load, seed, margin=margin)


def of_recording(file: Path, config: Path | None) -> Make:
    """Returns what makes scenarios of a daemon's recording, replayed as it is.

    `config`: says how its apps answer, where they are no models. Raises `UserError` where the recording cannot be used,
    or a load is asked for.
    """
    apps = read_config(config).apps if config else {}
    recorded = scenario_of(file, {name: app.build() for name, app in apps.items()})

    def make(load: float | None, _: str, seed: int) -> Scenario:
        if load is not None:
            raise UserError(f"{file}: a recording is replayed as it is; leave --load out")
        return replace(recorded, seed=seed, facts={**recorded.facts, "seed": seed, "arrivals": file.stem})

    return make


def labelled(scenario: Scenario, share: float) -> Scenario:
    """Returns the scenario with this share (0..1) of its answers marked as right or wrong."""
    return replace(scenario, facts={**scenario.facts, "labels": share}) if share else scenario


def with_need(need: str) -> list[str]:
    """Returns the names of the presets that offer this need."""
    return [name for name in PRESETS if need in offered(preset(name, 0.5, "poisson", 0, SHORT_S))]


def hint(needs: Iterable[str]) -> str:
    """Returns the options to try where these needs are not met, as the end of a sentence; empty if there are none."""
    words = ["--labels 0.1"] if "labels" in needs else []
    found = [with_need(need) for need in needs if need != "labels"]
    both = [name for name in PRESETS if found and all(name in presets for presets in found)]
    words = [*(f"--preset {name}" for name in both[:1]), *words]
    return f"; try {' '.join(words)}" if words else ""
