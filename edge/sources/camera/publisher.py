"""Publishes pictures as a camera would: on an absolute schedule, numbered and stamped; late ones
are skipped and counted.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.sources.camera.frames import CameraPicture, End, Pictures, Video
from edge.sources.mqtt.connection import Link
from edge.sources.mqtt.outbox import OutgoingMessage
from edge.sources.mqtt.source import as_json

FRAME_EXPIRY_S = 2  # an older frame is of no use: the broker discards it


@dataclass(slots=True)
class Pace:
    """Keeps a schedule: tick k is due at `start_s + k * period_s`, whatever happened before, so
    that errors do not add up.
    """

    period_s: float
    start_s: float
    tick: int = 0

    def wait_s(self, now_s: float) -> float:
        """Returns the seconds until the next tick, at least 0."""
        return max(0.0, self.start_s + self.tick * self.period_s - now_s)

    def skip(self, now_s: float) -> int:
        """Skips the ticks whose successor is due already; returns how many."""
        behind = int((now_s - self.start_s) / self.period_s) - self.tick
        self.tick += max(0, behind)
        return max(0, behind)


@dataclass
class CameraPublisher:
    """Publishes the pictures of one camera and counts them.

    `published + failed` pictures were made, `skipped` ticks were late, `unreadable` gave no picture. `link` may be
    shared by several cameras. The ground truth of each picture goes to `truth_topic` (QoS 1), if it is known and
    wanted. The first picture comes `offset_s` later: cameras of one site are not in step.
    """

    link: Link
    camera: str
    pictures: Pictures
    frame_topic: str
    truth_topic: str | None = None
    fps: float = 5.0
    qos: int = 0
    count_max: int | None = None
    offset_s: float = 0.0
    published: int = 0
    skipped: int = 0
    failed: int = 0  # no connection, or more waiting than the bound
    unreadable: int = 0
    bytes: int = 0
    _seq: int = field(default=0, init=False)

    def counters(self) -> dict[str, int]:
        """Returns the counts by name."""
        return {name: getattr(self, name) for name in ("published", "skipped", "failed", "unreadable", "bytes")}

    def run(self, stop: threading.Event, duration_s: float | None = None) -> None:
        """Publishes until `stop`, the end of the pictures, `count_max` published ones, or `duration_s` seconds."""
        start_s = time.monotonic()
        end_s = start_s + duration_s if duration_s is not None else float("inf")
        pace = Pace(1.0 / self.fps, start_s + self.offset_s)
        while not stop.is_set() and (self.count_max is None or self.published < self.count_max):
            self.skipped += pace.skip(time.monotonic())
            wait_s = min(pace.wait_s(time.monotonic()), end_s - time.monotonic())
            if self._waited(stop, wait_s) or time.monotonic() >= end_s:
                return
            try:
                self._publish(self.pictures.at(pace.tick))
            except End:
                return
            pace.tick += 1

    def _waited(self, stop: threading.Event, wait_s: float) -> bool:
        """Waits and returns whether it was stopped. A live source is read meanwhile, or its
        pictures would grow old in its buffer.
        """
        until_s = time.monotonic() + wait_s
        if isinstance(self.pictures, Video) and self.pictures.live:
            while not stop.is_set() and time.monotonic() < until_s and self.pictures.pass_over():
                pass
        return stop.wait(max(0.0, until_s - time.monotonic()))

    def _publish(self, picture: CameraPicture | None) -> None:
        if picture is None:
            self.unreadable += 1
            return
        frame_time, seq = time.time(), self._seq
        self._seq += 1
        user = {"frame_time": f"{frame_time:.6f}", "seq": str(seq)}
        frame = OutgoingMessage(
            self.frame_topic,
            picture.jpeg,
            self.qos,
            user=user,
            content_type="image/jpeg",
            expiry_s=FRAME_EXPIRY_S,
            wrap=True,
        )
        if not self.link.publish(frame):
            self.failed += 1
            return
        self.published += 1
        self.bytes += len(picture.jpeg)
        if self.truth_topic is not None and picture.truth is not None:
            self._tell(self.truth_topic, {"camera": self.camera, "seq": seq, "frame_time": frame_time, **picture.truth})

    def _tell(self, topic: str, truth: dict[str, Any]) -> None:
        self.link.publish(OutgoingMessage(topic, as_json(truth), qos=1, content_type="application/json"))


def publish_all(publishers: Sequence[CameraPublisher], stop: threading.Event, duration_s: float | None = None) -> None:
    """Runs several cameras at once, a thread each; returns when all of them have ended."""
    threads = [
        threading.Thread(target=one.run, args=(stop, duration_s), name=f"camera-{one.camera}", daemon=True)
        for one in publishers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # in short waits, so that signals are seen
            thread.join(0.2)
