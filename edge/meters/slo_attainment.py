"""How well each app has been served of late: the share of its requests that were answered in time."""

from dataclasses import dataclass, field

from edge.core.events import Arrived, Reply, Task, Time
from edge.core.interfaces import Moment
from edge.core.state import State

APPS_MAX = 1_024  # names may come with requests; whoever was silent for longest begins anew


@dataclass
class Attainment:
    """Exponentially weighted by `forget`: about the last 1/`forget` requests count. 1 for an app nobody has asked for.

    What the client took back counts for nothing: it is no one's fault.
    """

    forget: float = 0.01
    shares: dict[str, float] = field(default_factory=dict)  # by app, 0..1
    overall: float = 1.0  # of all apps together, over four times as many requests
    _open: dict[int, tuple[str, Time]] = field(default_factory=dict, repr=False)  # request -> app, deadline

    def observe(self, moment: Moment) -> None:
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
