"""A trace can be read back, and a core that decides otherwise is found out."""

from pathlib import Path

import pytest

from devices.traits import Traits, traits_of_kind
from edge.core.events import (
    Arrived,
    Closing,
    Combined,
    Event,
    Evicted,
    Failed,
    Feedback,
    Finished,
    LaneDown,
    LaneUp,
    Loaded,
    LoadFailed,
    Plan,
    Planned,
    Request,
    Served,
    StepResult,
    Stopped,
    Withdrawn,
    Woke,
)  # fmt: skip
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.estimators.rolling import Rolling
from edge.estimators.table import Table
from edge.observers.trace import Diverged, Trace, event_of, line_of, moment_of, replay
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import ALL_FAULTS, ANSWERS, simulate
from porting.variant import InputSpec, OutputSpec, Stage, Variant

PICTURE = InputSpec("image", 32, 32, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
STAGE = Stage("onnx", "graph", "head", PICTURE, (1, 4), {"graph": 10, "head": 2}, {1: 100, 4: 300})
OUTPUT = OutputSpec("classification", ("car", "bus"), "logits", "features")
EVENTS: list[Event] = [
    Arrived(Request(1, "app", "camera", 5, None, 2)),
    Withdrawn(1, "superseded"),
    Finished(3, {7: StepResult(False, 1, 0.25, {"person": 2})}, 1234),
    Failed(3, "NaN", (7, 8)),
    Stopped(3),
    Loaded("cpu0", "ab"),
    LoadFailed("cpu0", "ab", "flipped bit"),
    Evicted("cpu0", "ab"),
    LaneUp("cpu0", "cpu", 10),
    LaneUp("gpu0", "cuda", 0, Traits(remote=True, stoppable=True, price_per_request=0.5, overhead_ms=2.0)),
    LaneUp("cpu0", "cpu", 10, Traits()),
    LaneDown("cpu0", "unplugged"),
    Served(Variant("m", "fp32", (STAGE.digest,), OUTPUT, 0.9, None, {"passes": ["cut"]}), (STAGE,)),
    Served(Variant("m", "fp32", (STAGE.digest,)), (STAGE,), (Variant("m", "small", (STAGE.digest,)),)),
    Planned(Plan(0.25)),
    Planned(Plan(0.25, {"cpu0": ("m",)}, {"m": 4}, {"cpu0": 10}, {"m": {"small": 0.5}}, {"m": 0.5}, {"m": 7}, ("m",))),
    Feedback(3, {"m/small": 0.5}),
    Combined(3, "van", 0.5, {"m/small": "van", "m/large": "car"}),
    Woke(),
    Closing(),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_survives_the_file(event: Event) -> None:
    now, back = moment_of(line_of(Moment(17, event, (), State(Table()))))
    assert (now, back) == (17, event)


@pytest.mark.parametrize("kind", ["cpu", "simulated", "remote", "orin"])
def test_a_lane_whose_kind_says_it_all_is_written_and_read_as_ever(kind: str) -> None:
    """Traces from before devices had traits must stay readable, and replay byte by byte."""
    before = f'{{"now":1,"event":["LaneUp",{{"lane":"a","kind":"{kind}","memory_bytes":9}}],"actions":[]}}'
    now, event = moment_of(before)
    assert event == LaneUp("a", kind, 9, traits_of_kind(kind))
    assert line_of(Moment(now, event, (), State(Table()))) == before
    assert event.traits.remote == (kind == "remote")


def test_every_kind_of_event_is_tried() -> None:
    assert {type(event) for event in EVENTS} == set(Event.__args__)


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(KeyError, match="Exploded"):
        event_of("Exploded", {})


def traced(path: Path) -> Path:
    with Trace(path) as trace:
        simulate(11, 80, ALL_FAULTS, memory_bytes=4000, lanes=2, observers=[trace])
    return path


def test_replay_agrees_byte_by_byte(tmp_path: Path) -> None:
    path = traced(tmp_path / "deep" / "trace.jsonl")
    moments = replay(path, complete(EarliestDeadlineFirst()), ANSWERS, Rolling())
    assert moments == len(path.read_text().splitlines()) > 300


def test_replay_finds_another_policy_out(tmp_path: Path) -> None:
    path = traced(tmp_path / "trace.jsonl")
    with pytest.raises(Diverged, match=r"line [0-9]+"):
        replay(path, complete(Fifo(batch_max=1, boundary_ms=0)), ANSWERS, Rolling())


def test_replay_finds_a_changed_action_out(tmp_path: Path) -> None:
    lines = traced(tmp_path / "trace.jsonl").read_text().splitlines()
    spoilt = next(number for number, line in enumerate(lines) if '"outcome":"ok"' in line)
    lines[spoilt] = lines[spoilt].replace('"outcome":"ok"', '"outcome":"late"')
    with pytest.raises(Diverged, match=f"line {spoilt + 1}\n"):
        replay(lines, complete(EarliestDeadlineFirst()), ANSWERS, Rolling())
