"""Answers a request at its deadline with what has finished: members of an ensemble that are late are left out."""

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, ClassVar

from edge.core.events import Action, Reply, Task, Time, WakeAt
from edge.core.interfaces import Policy
from edge.core.state import OpenRequest, State
from edge.plugins import About


@dataclass
class StragglerMitigation:
    """Reports an ensemble's request as late shortly before its deadline if some of its members have finished.

    The core then asks the answer rule whether the finished tasks make an answer. Only tasks that no other task has led
    to count as members, so the children of a cascade are not affected.

    `inner`: any policy.
    `ahead_ms`: milliseconds before the deadline, so that the answer is sent in time.
    """

    inner: Policy
    ahead_ms: float = 1.0

    about: ClassVar[About] = About(
        paper="Clipper (Crankshaw et al., NSDI 2017, section 5.2): straggler mitigation",
        sources={
            "inner": "the system's own policy",
            "ahead_ms": "ours: waking a thread and combining an answer take less",
        },
    )

    def __post_init__(self) -> None:
        self.ahead_ns = round(self.ahead_ms * 1e6)
        self.seen: dict[str, int] = {}  # lane -> last work whose end was examined
        self.due: list[tuple[Time, int]] = []  # heap of (time to examine it, request)

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        """Gives up the members of a request that is due, else asks `inner`, else asks to be woken for the next."""
        self._see(state)
        if (late := self._late(state, now)) is not None:
            return late
        action = self.inner.decide(state, now)
        if action is None and self.due and self.due[0][0] < state.wake_ns:
            return WakeAt(self.due[0][0])
        return action

    def _see(self, state: State) -> None:
        """Notes requests of which a task has just finished while others are unfinished."""
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
    """Returns whether a task of the request that no other task has led to is waiting or running."""
    running = [task for lane in state.lanes.values() if lane.running is not None for task in lane.running.tasks]
    mine = [task for task in running if task.request == opened.request.id]
    return any(task.parent is None for task in (*opened.waiting.values(), *mine))
