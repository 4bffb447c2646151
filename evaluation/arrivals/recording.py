"""Turns a daemon's own trace into a scenario that another policy can be run on.

It is counterfactual: requests come as they came, runs take the times that runs of that batch took, frames contain what
was found in them. Effects of the policy itself are not replayed: drops, loads, promotions, background work.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.core.events import Arrived, Event, Finished, LaneUp, Request, Served, StepResult, Time
from edge.core.interfaces import AnswerRule
from edge.estimators.table import Table
from edge.observers.trace import event_of
from evaluation.arrivals.detections import AsRecorded, items_of
from evaluation.arrivals.load_scaling import load_of, short
from evaluation.arrivals.measured_durations import RecordedDurations
from evaluation.arrivals.request import arrivals_of
from evaluation.scenario import Scenario
from porting.errors import UserError
from porting.formats.format import BoxFormat
from porting.formats.registry import format_of

RUNS_MAX = 2_000  # durations kept of each graph, batch and lane
WANTED = {"Arrived", "Finished", "LaneUp", "Served"}
Key = tuple[str, int, str]  # graph, batch, lane


@dataclass
class Recording:
    """Collects what is read from a trace, line by line."""

    by_events: bool = False  # a run lasts from its order to its end; else as the lane measured it, without threads
    runs_max: int = RUNS_MAX
    began_ns: Time = 0
    requests: list[Request] = field(default_factory=list)
    lanes: dict[str, LaneUp] = field(default_factory=dict)
    served: dict[str, Served] = field(default_factory=dict)  # by model, the first that served
    runs: dict[int, tuple[Time, Mapping[str, Any]]] = field(default_factory=dict)  # by work, until it ends
    took_ns: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(list))
    ended_ns: dict[Key, list[Time]] = field(default_factory=lambda: defaultdict(list))  # when each of these ended
    children: dict[int, tuple[str, Mapping[str, int]]] = field(default_factory=dict)  # task -> model, what it found
    tasks: dict[int, tuple[int, ...]] = field(default_factory=dict)  # answered request -> its tasks
    odd: Counter[str] = field(default_factory=Counter)
    table: Table = field(default_factory=Table)

    # ---- line by line ------------------------------------------------------------------------------------------------

    def take(self, now: Time, kind: str, event: Mapping[str, Any], actions: Iterable[list[Any]]) -> None:
        """Takes in one moment: its event, and the runs and replies among its actions."""
        if kind in WANTED:
            self._happened(now - self.began_ns, event_of(kind, dict(event)))
        elif kind in ("LaneDown", "Failed", "Stopped"):
            self.odd[kind] += 1
        elif kind == "Withdrawn" and event.get("reason") == "superseded":
            self.odd["superseded"] += 1
        for name, action in actions:
            if name == "Run":
                self.runs[action["work_id"]] = (now - self.began_ns, action)
            elif name == "Reply" and action["outcome"] == "ok":
                self.tasks[action["request_id"]] = tuple(action["tasks"])

    def _happened(self, now: Time, event: Event) -> None:
        match event:
            case Arrived(request):
                self.requests.append(self._from_begin(request))
            case LaneUp(lane):
                self.lanes[lane] = event
            case Served(variant):
                self.odd["promoted"] += variant.model in self.served
                self.served.setdefault(variant.model, event)
            case Finished(work_id, results, took_ns) if work_id in self.runs:
                began_ns, run = self.runs.pop(work_id)
                self._ended(run, now, now - began_ns if took_ns is None or self.by_events else took_ns)
                self._found(run["stages"][-1], results)

    def _found(self, stage: str, results: Mapping[int, StepResult]) -> None:
        """Notes what a detector found, also when that is nothing."""
        for model, each in self.served.items():
            if each.variant.stages[-1] == stage:
                detects = each.variant.output is not None and isinstance(format_of(each.variant.output), BoxFormat)
                told = {task: (model, found.children) for task, found in results.items() if found.children or detects}
                self.children.update(told)

    def _from_begin(self, request: Request) -> Request:
        due_ns = request.deadline_ns
        return replace(
            request,
            arrived_ns=request.arrived_ns - self.began_ns,
            deadline_ns=None if due_ns is None else due_ns - self.began_ns,
        )

    def _ended(self, run: Mapping[str, Any], now: Time, took_ns: int) -> None:
        """Divides the time of stages that ran back to back in proportion to their tables, which
        is how the core learns as well.
        """
        stages = {stage.digest: stage for each in self.served.values() for stage in each.stages}
        batch, lane = len(run["tasks"]), run["lane"]
        ran = [stages[digest] for digest in run["stages"] if digest in stages]
        if len(ran) < len(run["stages"]):
            return  # of a variant that came later
        shares = [self.table.duration_ns(stage, batch, lane) for stage in ran]
        for stage, share in zip(ran, shares, strict=True):
            key = (stage.graph, batch, lane)
            if len(self.took_ns[key]) < self.runs_max:
                self.took_ns[key].append(max(1, took_ns * share // sum(shares)))
                self.ended_ns[key].append(now)

    # ---- what it comes to --------------------------------------------------------------------------------------------

    def found(self) -> dict[int, dict[str, Mapping[str, int]]]:
        """Returns by request what its frame contained.

        A request that was not answered gets what the last answered one of its stream found, since nothing is known of
        dropped frames.
        """
        last: dict[tuple[str, str], dict[str, Mapping[str, int]]] = {}
        every: dict[int, dict[str, Mapping[str, int]]] = {}
        for request in self.requests:
            stream = (request.app, request.stream)
            if request.id in self.tasks:
                last[stream] = dict(self.children[task] for task in self.tasks[request.id] if task in self.children)
            every[request.id] = last.get(stream, {})
        return every

    def notes(self, left_out: int) -> Iterator[str]:
        """Yields a line for each thing in the trace that the scenario does not replay, and for
        the requests left out.
        """
        told = {
            "cut": "the last line was cut off",
            "promoted": "promotions are not replayed: what served first serves all the time",
            "superseded": "frames gave way to newer ones; give `waiting_max` where they should again",
            "LaneDown": "lanes that went away stay",
            "Failed": "works failed; here none does",
            "Stopped": "works were stopped; here none is",
        }
        yield from (f"{self.odd[kind]} x {words}" for kind, words in told.items() if self.odd[kind])
        if left_out:
            yield f"{left_out} requests without a deadline are left out"


def read(path: Path, by_events: bool = False) -> Recording:
    """Reads the trace in a file. Raises `UserError`. `by_events`: see `Recording`."""
    try:
        with path.open(encoding="utf-8") as lines:
            return recording_of(lines, path, by_events)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the path of a trace (`trace:` in edge.yaml)") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: no text; give the path of a trace (`trace:` in edge.yaml)") from None


def recording_of(lines: Iterable[str], source: object, by_events: bool = False, runs_max: int = RUNS_MAX) -> Recording:
    """Reads a trace from lines. A last line that is cut off is noted, since power cuts end
    traces that way. Raises `UserError`.
    """
    recording, trouble = Recording(by_events, runs_max), ""
    for number, line in enumerate(lines, 1):
        if trouble:
            raise UserError(f"{source}:{trouble}")
        trouble = take(recording, line, number)
    recording.odd["cut"] += bool(trouble)
    return recording


def take(recording: Recording, line: str, number: int) -> str:
    """Adds one line to the recording; returns what is wrong with it, or an empty string."""
    try:
        table = json.loads(line)
        now, (kind, event), actions = table["now"], table["event"], table["actions"]
        if number == 1:
            recording.began_ns = now
        recording.take(now, kind, event, actions)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{number}: no line of a trace ({type(error).__name__}: {error})"
    return ""


def scenario_of(
    path: Path,
    answers: Mapping[str, AnswerRule] | None = None,
    seed: int = 0,
    background: bool = False,
    waiting_max: Mapping[str, int] | None = None,
) -> Scenario:
    """Returns the scenario of a trace file.

    Args:
        path: the trace.
        answers: of apps that are not models, as in the config.
        seed: of the simulated world.
        background: include requests without a deadline, if a model answers them.
        waiting_max: by stream, as in `edge.yaml`.

    Raises:
        UserError: the file is not a usable trace.
    """
    return scenario_from(read(path), path, answers, seed, background, waiting_max)


def scenario_from(
    recording: Recording,
    path: Path,
    answers: Mapping[str, AnswerRule] | None = None,
    seed: int = 0,
    background: bool = False,
    waiting_max: Mapping[str, int] | None = None,
) -> Scenario:
    """Returns the scenario of a recording; `path` names it, the rest is as in `scenario_of`."""
    models = {model for model, each in recording.served.items() if not each.stages[0].is_step}
    kept = [each for each in recording.requests if each.deadline_ns is not None or (background and each.app in models)]
    check(recording, kept, {*models, *(answers or {})}, path)
    found = recording.found()
    numbered = [replace(request, id=number) for number, request in enumerate(kept, 1)]
    detections = AsRecorded({number: found[request.id] for number, request in enumerate(kept, 1) if found[request.id]})
    durations_ns = {key: tuple(sorted(kept)) for key, kept in recording.took_ns.items()}
    served = tuple(each for model, each in recording.served.items() if model in models)
    items = items_of(answers or {}, detections)
    profiled = all(stage.durations_ns for each in served for stage in each.stages)
    load = load_of(arrivals_of(numbered), served, items=items) / len(recording.lanes) if profiled else 0.0
    return Scenario(
        path.stem, served, tuple(numbered),
        answers or {}, tuple(recording.lanes.values()), detections, seed,
        profile=RecordedDurations(durations_ns), waiting_max=waiting_max or {},
        notes=tuple(recording.notes(len(recording.requests) - len(kept))),
        facts={"load": short(load), "arrivals": path.stem, "seed": seed},
    )  # fmt: skip


def check(recording: Recording, kept: list[Request], known: set[str], path: Path) -> None:
    """Raises `UserError` when the recording has no lane, no model, no request with a deadline, or an unknown app."""
    if not recording.lanes or not recording.served:
        raise UserError(f"{path}: no lane came up and no model was served in it; a trace begins where its daemon does")
    if not kept:
        raise UserError(f"{path}: no request in it has a deadline")
    if strange := sorted({request.app for request in kept} - known):
        raise UserError(f"{path}: app {strange[0]!r} is no model; give the config whose `apps` answer it")
