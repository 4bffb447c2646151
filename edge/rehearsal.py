"""The box of an `edge.yaml` at work for some seconds, on pictures instead of cameras: what its runs really take.

A profile times graphs alone. On the lane there is more: pictures are decoded, boxes read, crops cut, threads woken, and
Python runs one of them at a time. Here the daemon itself serves, without a broker: some frames are kept in it, more and
more of them, so that every batch size occurs; its own trace tells what each work took from order to end.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from time import monotonic_ns

from edge import unplugged
from edge.arrivals.measured import Recorded
from edge.arrivals.recorded import recording_of
from edge.config import Config, Stream
from edge.events import LaneUp, Reply, Time
from edge.live import Open
from edge.plugin import PlugIn
from porting.errors import UserError

IN_FLIGHT = (1, 2, 4, 8, 16)  # frames kept in the box, one step after the other
SLO_MS = 60_000.0  # nothing is dropped: every batch is wanted, whatever it takes
RUNS_MIN = 20  # answered frames below which nothing is learnt of a box
EVERY_BATCH = PlugIn.model_validate({"use": "edge.policies.edf:EarliestDeadlineFirst", "batch_max": 32})


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

    def means_ns(self) -> dict[str, dict[int, Time]]:
        """Graph -> batch -> the mean run; of the slowest lane, where there are several."""
        return self._by_graph(lambda took_ns: sum(took_ns) // len(took_ns))

    def p99s_ns(self) -> dict[str, dict[int, Time]]:
        return self._by_graph(lambda took_ns: sorted(took_ns)[ceil(0.99 * len(took_ns)) - 1])

    def _by_graph(self, of: Callable[[tuple[int, ...]], Time]) -> dict[str, dict[int, Time]]:
        found: dict[str, dict[int, Time]] = {}
        for (graph, batch, _), took_ns in self.durations_ns.items():
            table = found.setdefault(graph, {})
            table[batch] = max(table.get(batch, 0), of(took_ns))
        return found

    def means(self) -> dict[str, float]:
        """Items of each kind in a frame."""
        kinds = {kind for found in self.finds.values() for frame in found for kind in frame}
        frames = [frame for found in self.finds.values() for frame in found]
        return {kind: sum(frame.get(kind, 0) for frame in frames) / len(frames) for kind in sorted(kinds)}

    def save(self, path: Path) -> None:
        """Raises `UserError`."""
        durations = [[*key, list(took_ns)] for key, took_ns in sorted(self.durations_ns.items())]
        lanes = [[lane.lane, lane.kind, lane.memory_bytes] for lane in self.lanes]
        table = {"lanes": lanes, "durations_ns": durations, "finds": self.finds, "frames": self.frames}
        try:
            path.write_text(json.dumps({**table, "duration_s": self.duration_s}) + "\n")
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None


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
    feeder = Feeder(pictures, len(config.apps), duration_s, progress)
    tape = unplugged.serve(quiet(config), feeder)
    if feeder.answered < RUNS_MIN:
        why = f" ({feeder.trouble})" if feeder.trouble else ""
        raise UserError(
            f"tried here: {feeder.answered} frames answered in {duration_s:g} s{why}; give other pictures, or more time"
        )
    return learnt(tape, feeder.answered, duration_s)


def quiet(config: Config) -> Config:
    """Every app on every frame, and nothing that drops, answers from memory or writes."""
    apps = {name: app.model_copy(update={"slo_ms": SLO_MS}) for name, app in config.apps.items()}
    every = Stream(apps=tuple(apps), waiting_max=1)
    off = {"planners": (), "trace": None, "journal": None, "http": None, "cache_mb": 0.0}
    return config.model_copy(update={"apps": apps, "streams": {"*": every}, "policy": EVERY_BATCH, **off})


class Feeder:
    """Keeps so many frames in the box: each that is answered lets the next one in. Its cameras are the places of these
    frames. `apps`: answers that a frame gets.
    """

    def __init__(
        self, pictures: Sequence[bytes], apps: int, duration_s: float, progress: Callable[[float], None]
    ) -> None:
        self.pictures, self.apps, self.duration_s, self.progress = pictures, apps, duration_s, progress
        self.free: list[int] = []
        self.owed: Counter[str] = Counter()  # camera -> answers to its frame that are still to come
        self.places = self.sent = self.answered = 0
        self.trouble = ""
        self.room = threading.Condition()

    def drive(self, receive: unplugged.Receive) -> None:
        step_ns = round(self.duration_s * 1e9 / len(IN_FLIGHT))
        for step, places in enumerate(IN_FLIGHT, 1):
            self._widen(places)
            self._feed(receive, monotonic_ns() + step_ns)
            self.progress(step / len(IN_FLIGHT))

    def _widen(self, places: int) -> None:
        with self.room:
            self.free += range(self.places, places)
            self.places = places

    def _feed(self, receive: unplugged.Receive, until_ns: Time) -> None:
        while monotonic_ns() < until_ns:
            with self.room:
                if not self.free and not self.room.wait(timeout=0.1):
                    continue
                place = self.free.pop(0)
            self.sent += 1
            self.owed[camera := f"camera-{place}"] = self.apps
            receive(unplugged.frame_now(camera, self.pictures[self.sent % len(self.pictures)]))

    # ---- what the world tells its listeners ----------------------------------------------------------------------

    def arrived(self, camera: str) -> None:
        """Only answers count."""

    def dropped(self, camera: str, app: str, reason: str) -> None:
        self.trouble = reason

    def replied(self, opened: Open, reply: Reply, now: Time) -> None:
        if reply.outcome == "ok":
            self.answered += 1
        elif reply.outcome != "stopped":  # which is how it ends
            self.trouble = reply.detail or reply.outcome
        camera = opened.request.stream
        self.owed[camera] -= 1
        if not self.owed[camera]:
            with self.room:
                self.free.append(int(camera.rpartition("-")[2]))
                self.room.notify()


def learnt(tape: unplugged.Tape, frames: int, duration_s: float) -> Rehearsed:
    recording = recording_of(tape.lines(), "rehearsal", by_events=True)
    finds: dict[str, list[Mapping[str, int]]] = {}
    for model, found in recording.children.values():
        finds.setdefault(model, []).append(found)
    durations_ns = {key: tuple(sorted(took_ns)) for key, took_ns in recording.took_ns.items()}
    told = {model: tuple(found) for model, found in finds.items()}
    return Rehearsed(tuple(recording.lanes.values()), durations_ns, told, frames, duration_s)
