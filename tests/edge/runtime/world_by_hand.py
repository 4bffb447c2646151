"""A live world without lanes that a test drives by hand, and a listener that counts."""

from collections import Counter
from pathlib import Path
from time import monotonic_ns

from edge.config import AppSettings, Config, StreamSettings
from edge.core.events import Reply, Woke
from edge.data.frame import Frame
from edge.runtime.world import LiveWorld


class Books:
    """A listener that counts."""

    def __init__(self):
        self.came, self.fell, self.replies = Counter(), Counter(), []

    def arrived(self, camera):
        self.came[camera] += 1

    def dropped(self, camera, app, reason):
        self.fell[camera, app, reason] += 1

    def replied(self, opened, reply, now):
        self.replies.append((opened, reply, now))


def made(books, streams=None, **apps):
    table = {name: AppSettings(use="edge.answers.single:Single", model="m", slo_ms=slo) for name, slo in apps.items()}
    named = {name: StreamSettings(**stream) for name, stream in (streams or {"*": {"apps": ("a",)}}).items()}
    config = Config(models=Path("m"), apps=table or {"a": AppSettings(use="x:Y", slo_ms=80)}, streams=named)
    return LiveWorld(config, {}, [books])


def frame(camera="gate", at_ns=None):
    return Frame(camera, b"jpeg", monotonic_ns() if at_ns is None else at_ns, 0.0, 0.0, 1)


def heard(world):
    """The next event that is not the clock's."""
    while True:
        now, event = world.listen()
        if not isinstance(event, Woke):
            return now, event


def hear_all(world):
    """Everything that follows from what is in the inbox now."""
    events = []
    world.call(lambda: events.append(None))
    while None not in events:
        world._take_from_inbox()
    return [*world.ready]


def answer(world, request_id, outcome="ok"):
    world.do(Reply(request_id, outcome))
    world._tell_replies()
