"""Builds a scenario from an `edge.yaml`: its models as measured, its apps, and cameras that send to the box."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

from devices.interface import traits_of
from edge.answers.cascade import Cascade
from edge.config import Config, load
from edge.core.events import LaneUp, Served, Time
from edge.core.interfaces import AnswerRule
from edge.observers.serving_watch import served
from evaluation.arrivals.detections import Averages, items_of
from evaluation.arrivals.load_scaling import load_of, short
from evaluation.arrivals.measured_durations import Profiled, Spread
from evaluation.arrivals.registry import process, streams
from evaluation.arrivals.request import Arrival, requests_of
from evaluation.scenario import Scenario
from evaluation.validity import check
from porting.errors import UserError
from porting.repository.repository import Repository

SECOND_NS = 1_000_000_000
START_NS = SECOND_NS  # the daemon takes frames once its models are loaded
THIS = "this"  # the devices that the config names, with what was measured on them


@dataclass(frozen=True)
class Cameras:
    """Describes the cameras that send to the box.

    `count`: cameras that share the entry `*`, beside one for every entry with a name of its own. `detections`: mean
    items of each kind that a detector finds in a frame; a number holds for all kinds.
    """

    count: int = 4
    fps: float = 10.0
    arrivals: str = "periodic0.1"
    detections: float | Mapping[str, float] = 1.0

    def mean(self, kind: str) -> float:
        """Returns the mean number of items of a kind in a frame; 0 for one that is not listed."""
        return self.detections if isinstance(self.detections, int | float) else self.detections.get(kind, 0.0)


@dataclass(frozen=True)
class Measured:
    """Describes lanes that were measured, on this machine or another.

    `graphs_ns`: graph -> batch -> duration of a run, used where the repository has no profile of that device.
    """

    lanes: tuple[LaneUp, ...]
    graphs_ns: Mapping[str, Mapping[int, Time]]


def from_config(
    path: Path, cameras: Cameras | None = None, seed: int = 0, duration_s: float = 20.0, device: str = THIS,
    frame_ms: float = 0.0, measured: Measured | None = None,
) -> Scenario:  # fmt: skip
    """Returns the scenario of a config under the given cameras.

    Args:
        path: the `edge.yaml`.
        cameras: None: the defaults of `Cameras`.
        seed: of arrivals and detections.
        duration_s: during which frames come.
        device: "this", or the kind of another device whose measured durations are in the repository.
        frame_ms: time that each frame costs a lane in addition to its graphs.
        measured: lanes to use instead of the config's; they need not exist on this machine.

    Raises:
        UserError: the config, the repository or the combination does not allow it.
    """
    config, cameras = load(path), cameras or Cameras()
    answers: dict[str, AnswerRule] = {name: app.build() for name, app in config.apps.items()}
    lanes, graphs = (measured.lanes, measured.graphs_ns) if measured else (lanes_of(config, device), {})
    repository = Repository(config.models)
    models = list(dict.fromkeys(model for answer in answers.values() for model in answer.models()))
    found = tuple(known(repository, model, lanes[0].kind, config.variants.get(model, ()), graphs) for model in models)
    names = stream_names(config, cameras.count, path)
    detections = Averages({model: dict(kinds) for model, kinds in asked_kinds(answers, cameras)}, seed)
    arrivals = frames(config, names, cameras, seed, duration_s)
    asks = load_of(arrivals, found, items=items_of(answers, detections)) / len(lanes) if arrivals else 0.0
    scenario = Scenario(
        path.resolve().parent.name, found, requests_of(arrivals), answers, lanes, detections, seed,
        profile=Profiled(spreads_of(repository, found, lanes[0].kind), round(frame_ms * 1e6)),
        waiting_max={name: entry.waiting_max for name in names if (entry := config.stream(name))},
        notes=tuple(notes_of(found)), facts={"load": short(asks), "arrivals": cameras.arrivals, "seed": seed},
    )  # fmt: skip
    check(scenario)
    return scenario


# ---- the box -------------------------------------------------------------------------------------------------------


def lanes_of(config: Config, device: str) -> tuple[LaneUp, ...]:
    """Returns a lane for each device of the config. Raises `UserError` where this machine does not have one."""
    if device == THIS:
        built = [table.build(name=name) for name, table in config.devices.items()]
        return tuple(LaneUp(each.name, each.kind, each.memory_bytes, traits_of(each)) for each in built)
    options: Mapping[str, Mapping[str, Any]] = {name: table.model_dump() for name, table in config.devices.items()}
    return tuple(LaneUp(name, device, each.get("memory_mb", 1024) << 20) for name, each in options.items())


def known(
    repository: Repository, model: str, kind: str, others: Sequence[str] = (),
    graphs_ns: Mapping[str, Mapping[int, Time]] = {},
) -> Served:  # fmt: skip
    """Returns the serving variant and those that may be asked for beside it, with durations.
    Raises `UserError` where any is missing.
    """
    found = served(repository, model, kind, others)
    stages = [replace(each, durations_ns=each.durations_ns or graphs_ns.get(each.graph, {})) for each in found.stages]
    found = replace(found, stages=tuple(stages))
    if all(stage.durations_ns for stage in found.stages):
        return found
    measured = ", ".join(repository.profiles(model, found.variant.name)) or "none"
    raise UserError(f"{model}/{found.variant.name}: not measured on {kind!r}; measured on: {measured}")


def spreads_of(repository: Repository, found: Sequence[Served], kind: str) -> dict[tuple[str, int], Spread]:
    """Returns duration spreads by graph and batch, from the profiles of the serving variants and their ancestors."""
    spreads: dict[tuple[str, int], Spread] = {}
    for variant in (variant for each in found for variant in (each.variant, *each.others)):
        for ancestor in repository.lineage(variant):
            profile = repository.profile(ancestor.model, ancestor.name, kind) or {"graphs": {}}
            for graph, table in profile["graphs"].items():
                for batch, row in table["batches"].items():
                    spreads.setdefault((graph, int(batch)), Spread.through(row["p50_ns"], row["p99_ns"]))
    return spreads


def notes_of(found: Sequence[Served]) -> Iterator[str]:
    """Yields a note for each profile in which a larger batch was faster; schedulers treat it as equally slow."""
    for each in found:
        for stage in each.stages:
            for (small, before_ns), (large, after_ns) in pairwise(sorted(stage.durations_ns.items())):
                if after_ns < before_ns:
                    yield (
                        f"{each.variant.model}: a batch of {large} is measured to take {after_ns / 1e6:.2f} ms, one of"
                        f" {small} takes {before_ns / 1e6:.2f} ms; taken to be as slow, better measured again"
                    )


# ---- what stands before it -----------------------------------------------------------------------------------------


def stream_names(config: Config, count: int, path: Path) -> list[str]:
    """Returns the names of all enabled cameras, `count` of the shared entry included. Raises
    `UserError` when there are none.
    """
    own = [name for name, stream in config.streams.items() if name != "*" and stream.enabled]
    shared = config.streams.get("*")
    others = [f"camera-{number}" for number in range(count)] if shared is not None and shared.enabled else []
    if not own + others:
        raise UserError(f"{path}: streams: none that is enabled; there is nothing to plan for")
    return own + others


def frames(config: Config, names: Sequence[str], cameras: Cameras, seed: int, duration_s: float) -> list[Arrival]:
    """Returns an arrival per frame and app of its stream. The first frames come once everything
    can have been loaded.
    """
    times = streams(
        process(cameras.arrivals), "cameras", dict.fromkeys(names, cameras.fps), seed, ceil(duration_s * SECOND_NS)
    )
    found = []
    for name in names:
        stream = config.stream(name)
        for app in stream.apps if stream else ():
            slo_ns = round(config.apps[app].slo_ms * 1e6)
            found += [Arrival(time_ns + START_NS, name, app, slo_ns) for time_ns in times[name].tolist()]
    return found


def asked_kinds(answers: Mapping[str, AnswerRule], cameras: Cameras) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields for every cascade its detector and the mean number of items of each kind that it finds."""
    for answer in answers.values():
        if isinstance(answer, Cascade):
            yield answer.detect, {kind: cameras.mean(kind) for kind in answer.classify}
