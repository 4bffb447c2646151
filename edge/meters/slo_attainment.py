"""Measures how well each app was served lately: the share of its requests that were answered in time."""

from dataclasses import dataclass, field

from edge.core.events import Arrived, Reply, Task, Time
from edge.core.interfaces import Moment
from edge.core.state import State

APPS_MAX = 1_024  # names come with requests: bounds memory; the app that was silent for longest is reset


@dataclass
class Attainment:
    """Keeps an exponentially weighted share of requests answered in time, 0..1, for each app.

    An app without answers has the share 1. Requests that the client took back, and those stopped at shutdown, do not
    count.

    `forget`: weight of the latest request; about the last 1 / `forget` requests count.
    """

    forget: float = 0.01
    shares: dict[str, float] = field(default_factory=dict)  # app -> share in time, 0..1
    overall: float = 1.0  # share of all apps together, over four times as many requests
    _open: dict[int, tuple[str, Time]] = field(default_factory=dict, repr=False)  # request -> app, deadline

    def observe(self, moment: Moment) -> None:
        """Counts the answers of this moment."""
        event = moment.event
        if isinstance(event, Arrived) and event.request.deadline_ns is not None:
            self._open[event.request.id] = event.request.app, event.request.deadline_ns
        for action in moment.actions:
            if isinstance(action, Reply) and (known := self._open.pop(action.request_id, None)):
                self._count(action, moment.now, *known)

    def _count(self, reply: Reply, now: Time, app: str, deadline_ns: Time) -> None:
        if reply.outcome not in ("superseded", "withdrawn", "stopped"):
            good = reply.outcome == "ok" and now <= deadline_ns
            share = self.shares.pop(app, 1.0)
            if len(self.shares) >= APPS_MAX:
                del self.shares[next(iter(self.shares))]
            self.shares[app] = share + self.forget * (good - share)
            self.overall += self.forget / 4 * (good - self.overall)

    def share_of(self, state: State, task: Task) -> float:
        """Returns the share of the app that the task works for; 1 where its request is answered already."""
        opened = state.requests.get(task.request)
        return 1.0 if opened is None else self.shares.get(opened.request.app, 1.0)
