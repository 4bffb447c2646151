"""At its deadline a request is answered with what has come: the members of an ensemble that are late are left out."""

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, ClassVar

from edge.core.events import Action, Reply, Task, Time, WakeAt
from edge.core.interfaces import About, Policy
from edge.core.state import OpenRequest, State


@dataclass
class Straggle:
    """Around any policy. `ahead_ms`: this long before the deadline, so that the answer is made in time.

    It says "late" of requests of which something has come and another task of the same rank is still out; the core asks
    the answer whether that will do. Children of a found thing are no members: a cascade is left alone.
    """

    inner: Policy
    ahead_ms: float = 1.0

    about: ClassVar[About] = About(
        paper="Clipper (Crankshaw et al., NSDI 2017, section 5.2): straggler mitigation",
        sources={
            "inner": "the system's own policy",
            "ahead_ms": "ours: a thread wakes up, and an answer is combined, in less",
        },
    )

    def __post_init__(self) -> None:
        self.ahead_ns = round(self.ahead_ms * 1e6)
        self.seen: dict[str, int] = {}  # lane -> the last work whose end was looked at
        self.due: list[tuple[Time, int]] = []  # heap: when to look at which request

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        self._see(state)
        if (late := self._late(state, now)) is not None:
            return late
        action = self.inner.decide(state, now)
        if action is None and self.due and self.due[0][0] < state.wake_ns:
            return WakeAt(self.due[0][0])
        return action

    def _see(self, state: State) -> None:
        """Whose task has just ended, while others of it go on?"""
        for lane in state.lanes.values():
            ended = lane.ended
            if ended is None or self.seen.get(lane.name) == ended.work_id:
                continue
            self.seen[lane.name] = ended.work_id
            for task in ended.tasks:
                opened = state.requests.get(task.request)
                if opened is not None and opened.finished and opened.unfinished:
                    deadline_ns = opened.request.deadline_ns
                    if deadline_ns is not None:
                        heappush(self.due, (deadline_ns - self.ahead_ns, task.request))

    def _late(self, state: State, now: Time) -> Reply | None:
        while self.due and self.due[0][0] <= now:
            opened = state.requests.get(self.due[0][1])
            if opened is not None and opened.finished and members_out(state, opened):
                return Reply(opened.request.id, "late")
            heappop(self.due)
        return None


def members_out(state: State, opened: OpenRequest) -> bool:
    """Is a task still out that no other task of the request has led to?"""
    running = [task for lane in state.lanes.values() if lane.running is not None for task in lane.running.tasks]
    mine = [task for task in running if task.request == opened.request.id]
    return any(task.parent is None for task in (*opened.waiting.values(), *mine))
