"""Writes every moment as one line of JSON; `replay` feeds the events to a fresh core and compares the actions."""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

from devices.traits import Traits
from edge.core.events import (
    NEVER,
    Arrived,
    Event,
    Failed,
    Finished,
    LaneUp,
    Plan,
    Planned,
    Request,
    Run,
    Served,
    StepResult,
    Time,
)
from edge.core.interfaces import AnswerRule, Moment, Policy
from edge.core.loop import learners
from edge.core.scheduler import Scheduler
from edge.core.state import Estimator, State
from porting.errors import UserError
from porting.variant import stage_from_json, variant_from_json

log = logging.getLogger("leeway")

KINDS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}


class Diverged(AssertionError):
    """Tells that the same event led to other actions. Names the line and shows both."""


class Trace:
    """Writes `{"now", "event": [kind, fields], "actions": [[kind, fields], …]}` per moment, times in ns."""

    def __init__(self, path: Path, say: Callable[[str], None] = log.warning):
        """Raises `UserError` where the file cannot be made."""
        self.say = say
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("w")
        except OSError as error:
            raise UserError(f"trace {path}: {error.strerror}") from None

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Writes one moment; a disk that is full ends the trace, not the serving."""
        if not self.file.closed:
            try:
                self.file.write(line_of(moment) + "\n")
            except OSError as error:  # a full disk ends the trace, not the serving
                self._end(error)
        return ()

    def _end(self, error: OSError) -> None:
        self.say(f"trace: {error.strerror}; going on without it")
        with suppress(OSError):  # what it could not write, it tries once more
            self.file.close()

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.file.close()
        except OSError as error:
            self._end(error)


class Digest:
    """Computes the SHA-256 of the lines that `Trace` would write: equal digests mean equal runs."""

    def __init__(self) -> None:
        self.hash = sha256()

    def observe(self, moment: Moment) -> Iterable[Event]:
        self.hash.update(line_of(moment).encode() + b"\n")
        return ()

    def hexdigest(self) -> str:
        return self.hash.hexdigest()


def replay(
    source: Path | Iterable[str], policy: Policy, answers: Mapping[str, AnswerRule], estimator: Estimator
) -> int:
    """Feeds a trace's events to a fresh core with the given plug-ins; returns how many moments agreed, byte by byte.

    Raises:
        Diverged: at the first moment whose actions differ.
    """
    scheduler = Scheduler(State(estimator), policy, answers)
    learning, moments = learners(scheduler), 0
    lines = source.read_text().splitlines() if isinstance(source, Path) else source
    for number, line in enumerate(lines, 1):
        now, event = moment_of(line)
        moment = Moment(now, event, scheduler.handle(event, now), scheduler.state)
        for learner in learning:
            deque(learner.observe(moment), 0)  # what it posted then is in the trace
        got = line_of(moment)
        if got != line.rstrip("\n"):
            raise Diverged(f"line {number}\n expected {line.strip()}\n      got {got}")
        moments += 1
    return moments


def line_of(moment: Moment) -> str:
    """Returns the line of JSON for a moment, without a line end."""
    event, actions = moment.event, moment.actions
    return encode(
        {
            "now": moment.now,
            "event": (type(event).__name__, event),
            "actions": [(type(action).__name__, action) for action in actions],
        }
    )


def table_of(value: Any) -> Any:
    """Returns a frozen value as a table of its fields; the tasks of a run by their ids, since
    the core made them itself.
    """
    if type(value) is Run:
        tasks = [task.id for task in value.tasks]
        window = {} if value.latest_ns == NEVER else {"latest_ns": value.latest_ns}
        variant = {"variant": value.variant} if value.variant else {}
        return {"work_id": value.work_id, "lane": value.lane, "stages": value.stages, "tasks": tasks,
                "background": value.background, **variant, **window}  # fmt: skip
    table = {name: getattr(value, name) for name in value.__slots__}
    if type(value) in BRIEF:
        return {name: field for name, field in table.items() if name in BRIEF[type(value)] or field}
    return table


# Types that gained fields over time omit the empty ones: old traces stay readable, and new ones short.
BRIEF: Mapping[type, tuple[str, ...]] = {
    LaneUp: ("lane", "kind", "memory_bytes"),
    Plan: ("background",),
    Served: ("variant", "stages"),
    Traits: (),
}

encode = json.JSONEncoder(default=table_of, separators=(",", ":"), check_circular=False).encode


def moment_of(line: str) -> tuple[Time, Event]:
    """Returns the time and the event of a line."""
    table = json.loads(line)
    return table["now"], event_of(*table["event"])


def event_of(kind: str, table: dict[str, Any]) -> Event:
    """Returns the event of a kind with the given fields."""
    match kind:
        case "Arrived":
            return Arrived(Request(**table["request"]))
        case "Finished":
            results = {int(task): StepResult(**result) for task, result in table["results"].items()}
            return Finished(table["work_id"], results, table["took_ns"])
        case "Failed":
            return Failed(table["work_id"], table["reason"], tuple(table["tasks"]))
        case "LaneUp":
            own = table.get("own_traits")
            return LaneUp(**{**table, "own_traits": None if own is None else Traits(**own)})
        case "Served":
            others = tuple(map(variant_from_json, table.get("others", ())))
            return Served(variant_from_json(table["variant"]), tuple(map(stage_from_json, table["stages"])), others)
        case "Planned":
            plan = table["plan"]
            placement = {lane: tuple(models) for lane, models in plan.get("placement", {}).items()}
            return Planned(Plan(**{**plan, "placement": placement, "preload": tuple(plan.get("preload", ()))}))
        case _:
            return KINDS[kind](**table)
