"""Runs the box of an `edge.yaml` for some seconds on given pictures instead of cameras, and
measures what its runs take.

A profile times graphs alone. On the lane there is more: pictures are decoded, boxes read, crops cut, threads woken,
frames come in and results go out, and Python runs one of these at a time. Here the daemon itself serves, a fake broker
with cameras keeps it busy, and its own trace tells how long each work took from order to end.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from devices.traits import Traits
from edge.config import Config, StreamSettings
from edge.core.events import LaneUp, Reply, Time
from edge.data.job import InFlightRequest
from edge.plugins import PlugIn
from edge.sources.mqtt.settings import MqttSettings
from edge.sources.source import frame_now
from evaluation.arrivals.measured_durations import RecordedDurations
from evaluation.arrivals.recording import Recording, recording_of
from evaluation.capacity import recorded_daemon
from evaluation.capacity.fake_broker import LOOPBACK, CameraTraffic, FakeBroker
from evaluation.capacity.load_generator import FREE, LoadGenerator
from porting.errors import UserError

SLO_MS = 60_000.0  # nothing is dropped: every batch is wanted, whatever it takes
RUNS_MIN = 20  # fewer frames say nothing about a box, and fewer runs nothing about a batch
RUNS_MAX = 20_000  # kept of each graph and batch
EVERY_BATCH = PlugIn.model_validate({"use": "edge.policies.edf:EarliestDeadlineFirst", "batch_max": 32})
Progress = Callable[[float], None]


@dataclass(frozen=True)
class DryRun:
    """Holds what the box took by graph, batch and lane, from a work's order to its end, and what
    its detectors found.
    """

    lanes: tuple[LaneUp, ...]
    durations_ns: Mapping[tuple[str, int, str], tuple[int, ...]]
    detections: Mapping[str, tuple[Mapping[str, int], ...]]  # model -> frame by frame
    frames: int
    duration_s: float
    telling_ns: Time = 0  # median time from the end of a frame's last work until its answer is delivered

    def profile(self) -> RecordedDurations:
        """Returns the durations as a profile for a scenario."""
        return RecordedDurations(self.durations_ns)

    def means_ns(self) -> dict[str, dict[int, Time]]:
        """Returns graph -> batch -> mean run in ns; of the slowest lane, where there are several."""
        return self._by_graph(lambda took_ns: sum(took_ns) // len(took_ns))

    def p99s_ns(self) -> dict[str, dict[int, Time]]:
        """Returns graph -> batch -> p99 of a run in ns; of the slowest lane, where there are several."""
        return self._by_graph(lambda took_ns: sorted(took_ns)[ceil(0.99 * len(took_ns)) - 1])

    def _by_graph(self, of: Callable[[tuple[int, ...]], Time]) -> dict[str, dict[int, Time]]:
        found: dict[str, dict[int, Time]] = {}
        for (graph, batch, _), took_ns in self.durations_ns.items():
            table = found.setdefault(graph, {})
            table[batch] = max(table.get(batch, 0), of(took_ns))
        return found

    def means(self) -> dict[str, float]:
        """Returns the mean number of items of each kind in a frame."""
        kinds = {kind for found in self.detections.values() for frame in found for kind in frame}
        frames = [frame for found in self.detections.values() for frame in found]
        return {kind: sum(frame.get(kind, 0) for frame in frames) / len(frames) for kind in sorted(kinds)}

    def save(self, path: Path) -> None:
        """Writes the dry run to a JSON file. Raises `UserError`."""
        durations = [[*key, list(took_ns)] for key, took_ns in sorted(self.durations_ns.items())]
        lanes = [row_of(lane) for lane in self.lanes]
        table = {"lanes": lanes, "durations_ns": durations, "finds": self.detections, "frames": self.frames}
        try:
            path.write_text(json.dumps({**table, "duration_s": self.duration_s, "telling_ns": self.telling_ns}) + "\n")
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None


def row_of(lane: LaneUp) -> list[Any]:
    """Returns name, kind, bytes; the traits behind them where they are not what the kind is known for."""
    own = [] if lane.own_traits is None else [asdict(lane.own_traits)]
    return [lane.lane, lane.kind, lane.memory_bytes, *own]


def lane_of(name: str, kind: str, memory_bytes: int, own: Mapping[str, Any] | None = None) -> LaneUp:
    """Returns the lane of a row that `row_of` made."""
    return LaneUp(name, kind, memory_bytes, None if own is None else Traits(**own))


def load(path: Path) -> DryRun:
    """Reads what `save` wrote, possibly on another box. Raises `UserError`."""
    try:
        table = json.loads(path.read_text())
        durations = {(graph, batch, lane): tuple(took) for graph, batch, lane, took in table["durations_ns"]}
        detections = {model: tuple(frames) for model, frames in table["finds"].items()}
        lanes = tuple(lane_of(*row) for row in table["lanes"])
        return DryRun(lanes, durations, detections, table["frames"], table["duration_s"], table["telling_ns"])
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a file that `leeway plan --save` wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not what `leeway plan --save` writes ({type(error).__name__}: {error})") from None


def dry_run(
    config: Config,
    pictures: Sequence[bytes],
    duration_s: float = 10.0,
    progress: Progress = lambda share: None,
    network: bool = True,
) -> DryRun:
    """Runs the daemon of a config on pictures and returns what it took.

    Args:
        config: the box.
        pictures: JPEG, used in turn.
        duration_s: how long to run.
        progress: called with the share done, 0..1.
        network: send frames over a network connection as in normal operation; else from within the process.

    Raises:
        UserError: the box cannot serve the pictures.
    """
    check_sizes(config, pictures)
    quieter = quiet(config)
    traffic = CameraTraffic(mqtt_of(config).topics.base, pictures, len(config.apps), duration_s)
    if network:
        with FakeBroker(traffic) as there:
            across = Across(there, progress)
            recorded = recorded_daemon.serve(connected(quieter, there.port), across, network=True)
            return learnt(recorded, across, duration_s)
    within = Within(traffic, progress)
    return learnt(recorded_daemon.serve(quieter, within), within, duration_s)


def check_sizes(config: Config, pictures: Sequence[bytes]) -> None:
    """Raises `UserError` when a picture is larger than the config lets in."""
    largest, limit = max(map(len, pictures)), mqtt_of(config).frame_bytes_max
    if largest > limit:
        raise UserError(f"a picture of {largest} bytes: mqtt.frame_bytes_max lets {limit} in, larger ones are dropped")


def quiet(config: Config) -> Config:
    """Returns the config with every app on every frame, and nothing that drops, answers from the cache or writes."""
    apps = {name: app.model_copy(update={"slo_ms": SLO_MS}) for name, app in config.apps.items()}
    every = StreamSettings(apps=tuple(apps), waiting_max=1)
    off = {"planners": (), "trace": None, "journal": None, "cache_mb": 0.0, "http": None, "sources": ()}
    return config.model_copy(update={"apps": apps, "streams": {"*": every}, "policy": EVERY_BATCH, **off})


def mqtt_of(config: Config) -> MqttSettings:
    """Returns how the box is reached over MQTT; the default settings where it is not."""
    return config.mqtt or MqttSettings.model_validate({})


def connected(config: Config, port: int) -> Config:
    """Returns the config with its connection to the fake broker instead of its own."""
    kept = mqtt_of(config).model_dump(include={"prefix", "node", "frame_bytes_max", "outgoing_bytes_max"})
    return config.model_copy(update={"mqtt": MqttSettings(host=LOOPBACK, port=port, protocol="5", **kept)})


# ---- drivers -------------------------------------------------------------------------------------------------------


class Heard(recorded_daemon.NoLabels):
    """Records when each request's answer was delivered, and the outcome of the last frame without one."""

    def __init__(self) -> None:
        self.told_ns: dict[int, Time] = {}
        self.trouble = ""

    def dropped(self, camera: str, app: str, reason: str) -> None:
        self.trouble = reason

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        if reply.outcome == "ok":
            self.told_ns[reply.request_id] = now
        elif reply.outcome != "stopped":  # which is how it ends
            self.trouble = reply.detail or reply.outcome


class Across(Heard):
    """Drives the daemon over the network; the fake broker's cameras see the answers themselves."""

    def __init__(self, there: FakeBroker, progress: Progress) -> None:
        super().__init__()
        self.there, self.progress = there, progress

    def drive(self, receive: recorded_daemon.Receive) -> None:
        for share in self.there.watch():
            self.progress(share)

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        """Records the reply; for a frame without a result it also tells the fake broker, which would not see one."""
        super().replied(opened, reply, now)
        if reply.outcome != "ok":
            with suppress(OSError):  # it is over
                self.there.tell(opened.request.stream)


class Within(Heard):
    """Drives the daemon from a thread of this process."""

    def __init__(self, traffic: CameraTraffic, progress: Progress) -> None:
        super().__init__()
        self.generator = LoadGenerator(
            traffic.pictures, traffic.apps, traffic.duration_s, lambda camera, jpeg: None, progress
        )

    def drive(self, receive: recorded_daemon.Receive) -> None:
        self.generator.send = lambda camera, jpeg: receive(frame_now(camera, jpeg))
        self.generator.run()

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        super().replied(opened, reply, now)
        self.generator.answered(opened.request.stream)


# ---- what is learnt ------------------------------------------------------------------------------------------------


def learnt(recorded: recorded_daemon.Recorded, heard: Heard, duration_s: float) -> DryRun:
    """Returns the dry run that a recording amounts to. Raises `UserError` when too few frames were answered."""
    answered = len(heard.told_ns)
    if answered < RUNS_MIN:
        why = f" ({heard.trouble})" if heard.trouble else ""
        raise UserError(
            f"tried here: {answered} frames answered in {duration_s:g} s{why}; give other pictures, or more time"
        )
    recording = recording_of(recorded.lines(), "rehearsal", by_events=True, runs_max=RUNS_MAX)
    detections: dict[str, list[Mapping[str, int]]] = {}
    for model, found in recording.children.values():
        detections.setdefault(model, []).append(found)
    told = {model: tuple(found) for model, found in detections.items()}
    lanes, telling_ns = tuple(recording.lanes.values()), telling_of(recorded, heard.told_ns)
    return DryRun(lanes, durations_of(recording), told, answered, duration_s, telling_ns)


def durations_of(recording: Recording) -> dict[tuple[str, int, str], tuple[int, ...]]:
    """Returns durations from the phase in which cameras ran on their own clocks, where that gave enough: frames that
    arrive at any time disturb what runs. A batch without enough takes all its runs.
    """
    free = [each.arrived_ns for each in recording.requests if each.stream.startswith(FREE)]
    since_ns = min(free, default=0)
    found = {}
    for key, took_ns in recording.took_ns.items():
        late = [took for took, ended in zip(took_ns, recording.ended_ns[key], strict=True) if ended >= since_ns]
        found[key] = tuple(sorted(late if len(late) >= RUNS_MIN else took_ns))
    return found


def telling_of(recorded: recorded_daemon.Recorded, told_ns: Mapping[int, Time]) -> Time:
    """Returns the median time in ns from the moment that produced an answer to its delivery. Replies of one batch are
    delivered one after the other.
    """
    replies = (
        (moment.now, action) for moment in recorded.moments for action in moment.actions if isinstance(action, Reply)
    )
    return round(median(told_ns[reply.request_id] - now for now, reply in replies if reply.request_id in told_ns))
