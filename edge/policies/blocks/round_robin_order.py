"""Orders queues in turn: the circle continues after the queue that was served last."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from edge.core.state import State


@dataclass
class Ring:
    """Remembers whose turn it is, in the order of the stages' digests: arbitrary, but the same in every run.

    It reads from the lanes which work began last, so asking twice changes nothing.
    """

    last: str = ""  # stage whose queue was served last
    work_id: int = 0  # work that served it

    def follow(self, state: State) -> None:
        """Updates the turn with works that began since; to be called at every decision."""
        for lane in state.lanes.values():
            work = lane.running
            if work is not None and work.work_id > self.work_id and not work.background:
                self.last, self.work_id = work.stages[0], work.work_id

    def turns(self, digests: Iterable[str]) -> list[str]:
        """Returns these stages in turn, the one after the last that was served first."""
        in_order = sorted(digests)
        begin = bisect_right(in_order, self.last)
        return in_order[begin:] + in_order[:begin]
