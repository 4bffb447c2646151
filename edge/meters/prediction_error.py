"""Compares what works took with what they were expected to take when they began."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from edge.core.events import Finished, Run, Time
from edge.core.interfaces import Moment
from edge.core.state import Lane, State

Expect = Callable[[State, Run, Lane], Time]


def by_estimate(state: State, order: Run, lane: Lane) -> Time:
    """Returns the sum of the estimates for the run's stages on this lane, in nanoseconds."""
    return sum([state.duration_ns(digest, len(order.tasks), lane) for digest in order.stages])


@dataclass
class Expected:
    """Keeps the expected duration of each work in flight that has a deadline.

    `expect`: computes the expectation when the work begins.
    """

    expect: Expect = by_estimate
    flying: dict[int, Time] = field(default_factory=dict)  # work id -> expected duration

    def see(self, moment: Moment) -> Iterator[tuple[Run, Time, Time]]:
        """Yields the work that ended, its duration and its expected duration; to be called once with every moment."""
        state, event = moment.state, moment.event
        if isinstance(event, Finished) and (expected := self.flying.pop(event.work_id, None)) is not None:
            for lane in state.lanes.values():
                if lane.ended is not None and lane.ended.work_id == event.work_id:
                    yield lane.ended, lane.took_ns, expected
        for action in moment.actions:
            if isinstance(action, Run) and not action.background and action.lane in state.lanes:
                self.flying[action.work_id] = self.expect(state, action, state.lanes[action.lane])
        if len(self.flying) > len(state.lanes):  # works that failed, or whose lane was lost
            self.flying = {work: expected for work, expected in self.flying.items() if work in state.works}
