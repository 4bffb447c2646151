"""Runs one demo from beginning to end: starts every part, watches, lets the scene drift, and stops every part."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, Protocol

import yaml

from cli.demonstration.processes import Child
from cli.demonstration.recorder import MessageRecorder
from edge.runtime.signals import stopped_by_signals
from edge.sources.mqtt.topics import Topics
from porting.errors import UserError

ONLINE_S = 30.0  # loading and warming up every model takes a few seconds on a slow box
DRAIN_S = 1.0
LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Settings:
    """Holds what the user asked for."""

    folder: Path  # of this run
    duration_s: float
    seed: int
    drift: str  # schedule, as the cameras understand it
    drift_at: float  # share of the run after which the scene drifts, 0..1
    frozen: bool
    cameras: int
    fps: float

    @property
    def drift_s(self) -> float:
        return self.duration_s * self.drift_at

    def schedule(self) -> str:
        """Returns conditions with the second that each begins at: `day@0,night@30,fog@60`."""
        drifts = [word.strip() for word in self.drift.split(",") if word.strip()]
        each_s = (self.duration_s - self.drift_s) / max(1, len(drifts))
        return ",".join(["day@0", *(f"{word}@{self.drift_s + at * each_s:.2f}" for at, word in enumerate(drifts))])


class DemoScene(Protocol):
    """Provides what differs from one demo to another."""

    drift: str  # conditions to drift to, where the person names none

    def port(self, settings: Settings, progress: Callable[[str], None]) -> None:
        """Fills `<folder>/repository`."""

    def config(self, settings: Settings) -> dict[str, Any]:
        """Returns the daemon's `edge.yaml`; the show fills in broker and repository."""

    def cameras(self, settings: Settings) -> list[str]:
        """Returns arguments of `leeway camera` after host and port."""

    def about(self, settings: Settings) -> dict[str, Any]:
        """Returns lines of demo.json that the report needs: what classifies what, labels, notes."""

    def heard(self, kind: str, table: dict[str, Any], recorder: MessageRecorder) -> None:
        """Takes in every message of the box, on the network thread."""

    def tick(self, recorder: MessageRecorder) -> None:
        """Gets called several times a second; a scene may answer questions for labels."""


class Viewer(AbstractContextManager[Any], Protocol):
    """Shows the demo while it runs."""

    def message(self, kind: str, table: dict[str, Any]) -> None: ...
    def refresh(self, elapsed_s: float) -> None: ...


@dataclass(slots=True)
class Show:
    """Runs one demo of a scene."""

    scene: DemoScene
    settings: Settings
    viewer: Viewer
    say: Callable[[str], None]
    recorder: MessageRecorder | None = field(default=None)
    stopped: bool = False
    first_frame_time: float | None = None
    first_condition: str | None = None
    drift_time: float | None = None

    def run(self) -> Path:
        """Runs the demo and returns its folder, ready for the report. Raises `UserError` where a
        part could not be started.
        """
        folder = self.settings.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {folder}: {error.strerror}; name a folder that can be made") from None
        self.scene.port(self.settings, self.say)
        with stopped_by_signals(self._stop), ExitStack() as stack:
            port = self._start_broker(stack)
            config = self._write_config(port)
            topics = Topics(config["mqtt"].get("prefix", "leeway"), config["mqtt"].get("node", "box"))
            self.recorder = stack.enter_context(MessageRecorder(folder, topics, port, self._heard))
            daemon = stack.enter_context(
                Child("daemon", ["run", "--config", str(folder / "edge.yaml")], folder / "daemon.log")
            )
            self._await_daemon(daemon)
            arguments = ["camera", *self.scene.cameras(self.settings), *self._broker_arguments(port, topics)]
            cameras = stack.enter_context(Child("cameras", arguments, folder / "cameras.log"))
            with self.viewer:
                self._watch(daemon, cameras, config)
            cameras.stop()
            sleep(DRAIN_S)
            daemon.stop()
            if not self.recorder.ended.wait(5.0):
                raise UserError(f"the daemon left without its last statistics: {daemon.last_words()}")
        self._set_the_clock()
        return folder

    def _start_broker(self, stack: ExitStack) -> int:
        from edge.sources.mqtt.broker import free_port

        port = free_port()
        broker = stack.enter_context(
            Child("broker", ["broker", "--port", str(port)], self.settings.folder / "broker.log")
        )
        self._until(lambda: listening(port), broker, 20.0, "the broker did not open its port")
        return port

    def _await_daemon(self, daemon: Child) -> None:
        assert self.recorder is not None
        self._until(self.recorder.available.is_set, daemon, ONLINE_S, "the daemon did not come online")

    def _until(self, ready: Callable[[], bool], child: Child, seconds: float, complaint: str) -> None:
        end = monotonic() + seconds
        while not ready():
            child.must_run()
            if monotonic() > end:
                raise UserError(f"{complaint} within {seconds:.0f} s; its log: {child.log}")
            sleep(0.05)

    def _broker_arguments(self, port: int, topics: Topics) -> list[str]:
        rate = ["--cameras", str(self.settings.cameras), "--fps", str(self.settings.fps)]
        return [*rate, "--host", "127.0.0.1", "--port", str(port), "--prefix", topics.prefix, "--node", topics.node]

    def _write_config(self, port: int) -> dict[str, Any]:
        config = self.scene.config(self.settings)
        config["mqtt"] = {**config.get("mqtt", {}), "host": "127.0.0.1", "port": port, "protocol": "3.1.1"}
        config["models"] = "repository"
        if self.settings.frozen:
            config.pop("drift", None)
        (self.settings.folder / "edge.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        return config

    def _watch(self, daemon: Child, cameras: Child, config: dict[str, Any]) -> None:
        assert self.recorder is not None
        began, wall = monotonic(), time()
        self._write_about(wall, config)
        while (elapsed := monotonic() - began) < self.settings.duration_s and not self.stopped:
            daemon.must_run()
            if elapsed < self.settings.duration_s - 2.0:
                cameras.must_run()
            self.viewer.refresh(elapsed)
            self.scene.tick(self.recorder)
            sleep(LOOK_S)

    def _write_about(self, wall: float, config: dict[str, Any]) -> None:
        settings = self.settings
        slo_ms = min(app["slo_ms"] for app in config["apps"].values())
        about = {
            "start_time": wall,
            "drift_time": wall + settings.drift_s,
            "duration": settings.duration_s,
            "seed": settings.seed,
            "drift": settings.drift,
            "frozen": settings.frozen,
            "slo_ms": slo_ms,
            "fps": settings.fps,
            **self.scene.about(settings),
        }
        (settings.folder / "demo.json").write_text(json.dumps(about, indent=2))

    def _set_the_clock(self) -> None:
        """Corrects the times in demo.json by the cameras' own frames: when the run began and when the scene drifted."""
        path = self.settings.folder / "demo.json"
        about = json.loads(path.read_text())
        if self.first_frame_time is not None:
            about["start_time"] = self.first_frame_time
            about["drift_time"] = self.drift_time or self.first_frame_time + self.settings.drift_s
        path.write_text(json.dumps(about, indent=2))

    def _note_condition(self, truth: dict[str, Any]) -> None:
        when, condition = truth["frame_time"], truth.get("condition")
        if self.first_frame_time is None:
            self.first_frame_time, self.first_condition = when, condition
        elif self.drift_time is None and condition != self.first_condition:
            self.drift_time = when

    def _heard(self, kind: str, table: dict[str, Any]) -> None:
        assert self.recorder is not None
        if kind == "truth":
            self._note_condition(table)
        self.viewer.message(kind, table)
        self.scene.heard(kind, table, self.recorder)

    def _stop(self) -> None:
        """Ends the watching early; every part is stopped in order, and the report is written all the same."""
        self.stopped = True


def listening(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
