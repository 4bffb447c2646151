"""Implements SHEPHERD's FLEX: runs the largest feasible batch, and preempts a much smaller one for it."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from edge.core.events import Action, Run, Stop, Time, WakeAt
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.plugins import About
from edge.policies.largest_feasible import LargestFeasible


@dataclass
class Flex(LargestFeasible):
    """Stops a running batch if a feasible one is at least `threshold` times as large.

    The tasks of the stopped batch wait again, and must still meet their deadlines.

    `threshold`: ratio of the sizes from which on a batch is stopped.
    `batch_max`, `boundary_ms`: see `LargestFeasible`.
    """

    threshold: float = 3.03
    _stopped: dict[str, list[Run]] = field(default_factory=dict, init=False, repr=False, compare=False)  # by lane

    about: ClassVar[About] = replace(
        LargestFeasible.about,
        paper="SHEPHERD (Zhang et al., NSDI 2023): FLEX",
        sources={**LargestFeasible.about.sources, "threshold": "the paper: the best for an unknown future"},
        deviations=(
            "work is stopped as soon as a batch is large enough, whichever event made it so",
            "background work is not stopped: its steps are short",
        ),
        needs=frozenset({"preemption"}),
    )

    def decide(self, state: State, now: Time) -> Action | None:
        """Returns the action of `LargestFeasible` or, if it only waits, a stop of a much smaller batch."""
        self._follow(state)
        action = super().decide(state, now)
        if action is None or isinstance(action, WakeAt):
            return self._stop(state, now) or action
        return action

    def queues(self, state: State, lane: Lane) -> list[tuple[str, list[Entry]]]:
        """Returns the queues that may run here, without tasks that were stopped since a work last ended.

        Otherwise the tasks that were stopped could run first again, and be stopped again. They are included if nothing
        else waits.
        """
        found = super().queues(state, lane)
        stopped = {task.id for work in self._stopped.get(lane.name, ()) for task in work.tasks}
        if not stopped:
            return found
        others = [(digest, [entry for entry in queue if entry[1] not in stopped]) for digest, queue in found]
        return [(digest, queue) for digest, queue in others if queue] or found

    def _follow(self, state: State) -> None:
        """Notes what has been told to stop, and forgets it once a work has ended."""
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
        """Returns a stop of the first work that is small enough; None while another one is being stopped.

        Other lanes need not make room for what will run on that one. A work that started just now was the best
        candidate, so it is left alone.
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
