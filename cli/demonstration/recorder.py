"""Records what goes over the broker: results, truth, events, statistics, and a frame every few seconds."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, time
from typing import IO, Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.sources.mqtt.envelope import BadEnvelope, opened
from edge.sources.mqtt.topics import Topics

FRAME_EVERY_S = 3.0  # per camera: pictures kept for the report
FILES = ("results", "truth", "events", "stats")

Listener = Callable[[str, dict[str, Any]], None]  # kind of message, its table


class MessageRecorder:
    """Subscribes to all messages of a box and appends each as one line to a file of its kind."""

    def __init__(self, folder: Path, topics: Topics, port: int, listener: Listener):
        self.folder, self.topics, self.port, self.listener = folder, topics, port, listener
        self.available = threading.Event()
        self.ended = threading.Event()  # the daemon's last statistics came
        self.files: dict[str, IO[str]] = {}
        self.frame_times: dict[str, float] = {}
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="leeway-demo-recorder")
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message

    def __enter__(self) -> "MessageRecorder":
        (self.folder / "frames").mkdir(parents=True, exist_ok=True)
        self.files = {name: (self.folder / f"{name}.jsonl").open("w") for name in FILES}
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        for file in self.files.values():
            file.close()

    def publish(self, suffix: str, payload: dict[str, Any]) -> None:
        self.client.publish(self.topics.under(suffix), json.dumps(payload), qos=1)

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        under = self.topics.under
        wanted = ("available", "stats", "events", "+/+/result", "+/truth", "+/frame", "label/request")
        client.subscribe([(under(suffix), 1) for suffix in wanted])

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        levels = message.topic[len(self.topics.base) + 1 :].split("/")
        match levels:
            case ["available"]:
                if message.payload == b"online":
                    self.available.set()
            case [camera, "frame"]:
                self._keep_frame(camera, bytes(message.payload))
            case _:
                self._keep_table(levels, bytes(message.payload))

    def _keep_table(self, levels: list[str], payload: bytes) -> None:
        try:
            table = json.loads(payload)
        except ValueError:
            return
        kind = "results" if levels[-1] == "result" else "labels" if levels[0] == "label" else levels[-1]
        if kind in self.files:
            line = {"topic": "/".join(levels), "at": time(), **table}
            self.files[kind].write(json.dumps(line) + "\n")
        if kind == "stats" and table.get("final"):
            self.ended.set()
        self.listener(kind, table)

    def _keep_frame(self, camera: str, message: bytes) -> None:
        now = monotonic()
        if now - self.frame_times.get(camera, -FRAME_EVERY_S) < FRAME_EVERY_S:
            return
        try:
            frame = opened(message, {}, time())
        except BadEnvelope:
            return
        if frame.seq is not None:
            self.frame_times[camera] = now
            (self.folder / "frames" / f"{camera}-{frame.seq}.jpg").write_bytes(frame.payload)
