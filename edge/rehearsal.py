"""The box of an `edge.yaml` at work for some seconds, on pictures instead of cameras: what its runs really take.

A profile times graphs alone. On the lane there is more: pictures are decoded, boxes read, crops cut, threads woken, and
Python runs one of them at a time. Here the daemon itself serves, without a broker: some frames are kept in it, more and
more of them, so that every batch size occurs; its own trace tells what each work took from order to end.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns, time
from typing import Any

from edge.arrivals.measured import Recorded
from edge.arrivals.recorded import read
from edge.config import Config, Stream
from edge.daemon import wire
from edge.events import LaneUp, Reply, Time
from edge.live import Open
from edge.loop import run
from edge.observers.ready import Ready
from edge.observers.trace import Trace
from edge.sources.frame import Frame
from porting.errors import UserError

IN_FLIGHT = (1, 2, 4, 8, 16)  # frames kept in the box, one step after the other
SLO_MS = 60_000.0  # nothing is dropped: every batch is wanted, whatever it takes
RUNS_MIN = 20  # answered frames below which nothing is learnt of a box


@dataclass(frozen=True)
class Rehearsed:
    """What the box took: by graph, batch and lane, from a work's order to its end; what its detectors found."""

    lanes: tuple[LaneUp, ...]
    durations_ns: Mapping[tuple[str, int, str], tuple[int, ...]]
    finds: Mapping[str, tuple[Mapping[str, int], ...]]  # model -> frame by frame
    frames: int
    duration_s: float

    def profile(self) -> Recorded:
        return Recorded(self.durations_ns)

    def means(self) -> dict[str, float]:
        """Items of each kind in a frame."""
        kinds = {kind for found in self.finds.values() for frame in found for kind in frame}
        frames = [frame for found in self.finds.values() for frame in found]
        return {kind: sum(frame.get(kind, 0) for frame in frames) / len(frames) for kind in sorted(kinds)}

    def save(self, path: Path) -> None:
        durations = [[*key, list(took_ns)] for key, took_ns in sorted(self.durations_ns.items())]
        lanes = [[lane.lane, lane.kind, lane.memory_bytes] for lane in self.lanes]
        table = {"lanes": lanes, "durations_ns": durations, "finds": self.finds, "frames": self.frames}
        path.write_text(json.dumps({**table, "duration_s": self.duration_s}) + "\n")


def load(path: Path) -> Rehearsed:
    """What `save` wrote, be it on another box. Raises `UserError`."""
    try:
        table = json.loads(path.read_text())
        durations = {(graph, batch, lane): tuple(took) for graph, batch, lane, took in table["durations_ns"]}
        finds = {model: tuple(frames) for model, frames in table["finds"].items()}
        lanes = tuple(LaneUp(*lane) for lane in table["lanes"])
        return Rehearsed(lanes, durations, finds, table["frames"], table["duration_s"])
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a file that `leeway plan --save` wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not what `leeway plan --save` writes ({type(error).__name__}: {error})") from None


def rehearse(
    config: Config,
    pictures: Sequence[bytes],
    duration_s: float = 10.0,
    progress: Callable[[float], None] = lambda share: None,
) -> Rehearsed:
    """`pictures`: JPEG, taken in turn. Raises `UserError` where the box cannot serve them."""
    with TemporaryDirectory(prefix="leeway-rehearsal-") as folder:
        trace = Path(folder) / "trace.jsonl"
        feeder = serve_frames(quiet(config), pictures, duration_s, trace, progress)
        if feeder.answered < RUNS_MIN:
            why = f"; the last one: {feeder.trouble}" if feeder.trouble else ""
            raise UserError(f"rehearsal: {feeder.answered} frames answered in {duration_s:.0f} s{why}; give it longer")
        return learnt(trace, feeder.answered, duration_s)


def quiet(config: Config) -> Config:
    """Without cameras, drift, planners; every app on every frame."""
    apps = {name: app.model_copy(update={"slo_ms": SLO_MS}) for name, app in config.apps.items()}
    every = Stream(apps=tuple(apps), waiting_max=1)
    off = {"drift": None, "planners": (), "trace": None, "journal": None, "http": None}
    return config.model_copy(update={"apps": apps, "streams": {"*": every}, **off})


class Feeder:
    """Keeps so many frames in the box: each answer lets the next one in. Its cameras are the places of these frames."""

    def __init__(self, receive: Callable[[Frame], bool], pictures: Sequence[bytes]) -> None:
        self.receive, self.pictures = receive, pictures
        self.free: list[int] = []
        self.places = self.sent = self.answered = 0
        self.trouble = ""
        self.room = threading.Condition()

    def widen(self, places: int) -> None:
        with self.room:
            self.free += range(self.places, places)
            self.places = places
            self.room.notify()

    def feed(self, until_ns: Time) -> None:
        """On a thread of its own, as the network's frames come."""
        while monotonic_ns() < until_ns:
            with self.room:
                if not self.free and not self.room.wait(timeout=0.1):
                    continue
                place = self.free.pop(0) if self.free else None
            if place is not None:
                self.sent += 1
                picture, now = self.pictures[self.sent % len(self.pictures)], time()
                self.receive(Frame(f"camera-{place}", picture, monotonic_ns(), now, now))

    # ---- what the world tells its listeners ----------------------------------------------------------------------

    def arrived(self, camera: str) -> None:
        """Only answers count."""

    def dropped(self, camera: str, app: str, reason: str) -> None:
        self.trouble = reason

    def replied(self, opened: Open, reply: Reply, now: Time) -> None:
        if reply.outcome == "ok":
            self.answered += 1
        else:
            self.trouble = reply.detail or reply.outcome
        if opened.frame is not None:
            with self.room:
                self.free.append(int(opened.frame.camera.rpartition("-")[2]))
                self.room.notify()


def serve_frames(
    config: Config, pictures: Sequence[bytes], duration_s: float, trace: Path, progress: Callable[[float], None]
) -> Feeder:
    """The daemon's own parts, but for the network."""
    parts = wire(config)
    world = parts.world
    feeder = Feeder(world.receive, pictures)
    world.listeners = [feeder]
    begin = parts.served()

    def drive() -> None:
        step_ns = round(duration_s * 1e9 / len(IN_FLIGHT))
        for step, places in enumerate(IN_FLIGHT, 1):
            feeder.widen(places)
            feeder.feed(monotonic_ns() + step_ns)
            progress(step / len(IN_FLIGHT))
        world.ask_to_stop()

    driver = threading.Thread(target=drive, name="rehearsal", daemon=True)
    with ExitStack() as stack:
        stack.enter_context(world)
        observers: list[Any] = [world, stack.enter_context(Trace(trace))]
        observers.append(Ready([served.variant.model for served in begin], driver.start))
        world.start(begin, config.background.share)
        run(parts.scheduler, world, observers)
    return feeder


def learnt(trace: Path, frames: int, duration_s: float) -> Rehearsed:
    recording = read(trace, by_events=True)
    finds: dict[str, list[Mapping[str, int]]] = {}
    for model, found in recording.children.values():
        finds.setdefault(model, []).append(found)
    durations_ns = {key: tuple(sorted(took_ns)) for key, took_ns in recording.took_ns.items()}
    told = {model: tuple(found) for model, found in finds.items()}
    return Rehearsed(tuple(recording.lanes.values()), durations_ns, told, frames, duration_s)
