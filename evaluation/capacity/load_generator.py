"""Simulates cameras that keep a box busy: first a fixed number of frames in flight, so that every batch size occurs;
then cameras on their own clocks, at about the rate that the box can serve, as under full load.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic, sleep

IN_FLIGHT = (1, 2, 4, 8, 16)  # frames in the box at once, one step after the other
FREE_RUNNING = 0.5  # share of the time on their own clocks
FREE, CAMERAS = "free-", 32  # of those: how their names begin, and how many they are
RATE = 1.0  # of the rate that the box reached in the last step
Send = Callable[[str, bytes], object]  # camera, JPEG


@dataclass
class LoadGenerator:
    """Sends frames and counts answers. `pictures`: used in turn. `apps`: answers per frame.
    `answered` may be called from any thread.
    """

    pictures: Sequence[bytes]
    apps: int
    duration_s: float
    send: Send
    progress: Callable[[float], None] = lambda share: None
    free: list[str] = field(default_factory=list)  # cameras with no frame in flight
    owed: Counter[str] = field(default_factory=Counter)  # camera -> answers to its frame that are still to come
    sent: int = 0
    done: int = 0  # frames with all their answers
    room: threading.Condition = field(default_factory=threading.Condition)

    def run(self) -> None:
        """Runs all steps, then the free-running phase; returns after `duration_s`."""
        step_s = (1 - FREE_RUNNING) * self.duration_s / len(IN_FLIGHT)
        rate_per_s = 0.0
        for step, places in enumerate(IN_FLIGHT, 1):
            with self.room:
                self.free += [f"camera-{place}" for place in range(len(self.free) + len(+self.owed), places)]
            before = self.done
            self._keep_full(monotonic() + step_s)
            rate_per_s = (self.done - before) / step_s
            self.progress((1 - FREE_RUNNING) * step / len(IN_FLIGHT))
        self._run_free(RATE * rate_per_s, monotonic() + FREE_RUNNING * self.duration_s)
        self.progress(1.0)

    def _keep_full(self, until_s: float) -> None:
        """Sends a frame for each one that is answered."""
        while monotonic() < until_s:
            with self.room:
                if not self.free and not self.room.wait(timeout=0.1):
                    continue
                camera = self.free.pop(0)
                self.owed[camera] = self.apps
            self._send(camera)

    def _run_free(self, rate_per_s: float, until_s: float) -> None:
        """Sends frames of one camera after the other at random times, whatever becomes of them."""
        random, due_s = Random(0), monotonic()
        while rate_per_s > 0 and due_s < until_s:
            sleep(max(0.0, due_s - monotonic()))
            self._send(f"{FREE}{self.sent % CAMERAS}")
            due_s += random.expovariate(rate_per_s)

    def _send(self, camera: str) -> None:
        self.sent += 1
        self.send(camera, self.pictures[self.sent % len(self.pictures)])

    def answered(self, camera: str) -> None:
        """Counts one answer to the camera's frame, or the news that there is none."""
        with self.room:
            self.owed[camera] -= 1
            if self.owed[camera] == 0:
                self.done += 1
                self.free.append(camera)
                self.room.notify()
