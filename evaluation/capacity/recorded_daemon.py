"""Runs the daemon's own parts with every moment kept; frames come from within the process or
over a network made for it.

Commands of drift adaptation are not carried out; samples for it are taken as usual.
"""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

from edge.config import Config
from edge.core.events import Event, Reply, Time
from edge.core.interfaces import Moment, Observer
from edge.core.loop import run
from edge.daemon import WiredDaemon, wire
from edge.data.frame import Frame
from edge.data.job import InFlightRequest, Listener
from edge.observers.adaptation.observer import AdaptationObserver
from edge.observers.ready import Ready
from edge.observers.trace import line_of

Receive = Callable[[Frame], bool]


class Driver(Listener, Protocol):
    """Brings the frames, and is told what becomes of them."""

    def drive(self, receive: Receive) -> None:
        """Sends frames from a thread of its own, once everything is loaded. When it returns,
        open requests are answered and the run ends.
        """


class Recorded:
    """Observes and keeps every moment; lines are made only afterwards, when no frame waits for them."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        self.moments.append(moment)
        return ()

    def lines(self) -> Iterator[str]:
        """Returns the moments as `edge.observers.trace` writes them."""
        return map(line_of, self.moments)


def serve(config: Config, driver: Driver, network: bool = False) -> Recorded:
    """Runs the daemon until the driver is done, and returns the recording. `network`: with the sources of the config.

    Args:
        config: the box.
        driver: brings the frames.
        network: connect to the broker that the config names.
    """
    parts = wire(config)
    recorded, begin = Recorded(), parts.served()
    driving = threading.Thread(target=drive, args=(parts, driver), name="driver", daemon=True)

    def open_the_door() -> None:
        gc.collect()
        gc.freeze()  # as the daemon does
        if network:
            parts.sources.start(parts.inbox)
        driving.start()

    parts.world.listeners.append(driver)  # type: ignore[attr-defined]
    ready = Ready([served.variant.model for served in begin], open_the_door)
    observers: list[Observer] = [each for each in parts.observers if not isinstance(each, AdaptationObserver)]
    with ExitStack() as stack:
        stack.callback(gc.unfreeze)
        stack.enter_context(parts.world)
        stack.callback(parts.sources.stop)
        parts.world.start(begin, parts.config.background.share)
        run(parts.scheduler, parts.world, [*observers, recorded, ready])
    return recorded


def drive(parts: WiredDaemon, driver: Driver) -> None:
    """Runs the driver; an exception of it is raised by the loop."""
    try:
        driver.drive(parts.world.receive)
    except BaseException as bug:
        parts.world.post(bug)
    parts.world.ask_to_stop()


class NoLabels:
    """Listens to the live world and ignores everything; subclasses override what they need."""

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None: ...

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None: ...
