"""The largest batch that still makes it, even if something much smaller has to be stopped for it."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from edge.core.events import Action, Run, Stop, Time, WakeAt
from edge.core.interfaces import About
from edge.core.state import Entry, Lane, State
from edge.policies.largest_feasible import LargestFeasible


@dataclass
class Flex(LargestFeasible):
    """`threshold`: a batch that is at least this many times as large as the one that runs takes its place. The stopped
    one's tasks wait again, and must make their deadlines anew.
    """

    threshold: float = 3.03
    _stopped: dict[str, list[Run]] = field(default_factory=dict, init=False, repr=False, compare=False)  # by lane

    about: ClassVar[About] = replace(
        LargestFeasible.about,
        paper="SHEPHERD (Zhang et al., NSDI 2023): FLEX",
        sources={**LargestFeasible.about.sources, "threshold": "the paper: the best for an unknown future"},
        deviations=(
            "work is stopped as soon as a batch is large enough, whatever event made it so",
            "background work is not stopped: its steps are short",
        ),
        needs=frozenset({"preemption"}),
    )

    def decide(self, state: State, now: Time) -> Action | None:
        self._follow(state)
        action = super().decide(state, now)
        if action is None or isinstance(action, WakeAt):
            return self._stop(state, now) or action
        return action

    def queues(self, state: State, lane: Lane) -> list[tuple[str, list[Entry]]]:
        """Without the tasks that were stopped here since a work last ended, unless nothing else waits: what they made
        room for goes first. With them it would be the small batch again, and stopped again.
        """
        found = super().queues(state, lane)
        stopped = {task.id for work in self._stopped.get(lane.name, ()) for task in work.tasks}
        if not stopped:
            return found
        others = [(digest, [entry for entry in queue if entry[1] not in stopped]) for digest, queue in found]
        return [(digest, queue) for digest, queue in others if queue] or found

    def _follow(self, state: State) -> None:
        """See what has been told to stop, and forget it once something has come to an end."""
        for lane in state.lanes.values():
            if lane.stopping == 0:  # also of a lane that was lost and is back
                self._stopped.pop(lane.name, None)
                continue
            ended = 0 if lane.ended is None else lane.ended.work_id
            stopped = [work for work in self._stopped.get(lane.name, ()) if work.work_id > ended]
            if lane.running is not None and lane.running.work_id == lane.stopping and lane.running not in stopped:
                stopped.append(lane.running)
            self._stopped[lane.name] = stopped

    def _stop(self, state: State, now: Time) -> Stop | None:
        """One at a time: another lane need not make room for what will run on this one. Not what began just now: it was
        the best there was.
        """
        running = [(lane, lane.running) for lane in state.lanes.values() if lane.running is not None]
        if any(work.work_id == lane.stopping for lane, work in running):
            return None
        waiting = max(map(len, state.queues.values()), default=0)
        for lane, work in running:
            least = self.threshold * len(work.tasks)
            if lane.began_ns < now and not work.background and waiting >= least:
                best = self.candidate(state, now, lane)
                if best is not None and best.size >= least:
                    return Stop(work.work_id)
        return None
