"""Whose turn it is: queues in a circle, begun again behind the one that was given a lane last."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from edge.core.state import State


@dataclass
class Ring:
    """The circle is the order of the stages' digests: arbitrary, but the same in every run and on every machine.

    Learns from the lanes which work began last, so that asking twice changes nothing.
    """

    last: str = ""  # the stage whose queue was served last
    work_id: int = 0  # by this work

    def follow(self, state: State) -> None:
        """Look which work with a deadline has begun since. To be called at every decision."""
        for lane in state.lanes.values():
            work = lane.running
            if work is not None and work.work_id > self.work_id and not work.background:
                self.last, self.work_id = work.stages[0], work.work_id

    def turns(self, digests: Iterable[str]) -> list[str]:
        """These stages, the first behind the last one to begin with, and so on round."""
        in_order = sorted(digests)
        begin = bisect_right(in_order, self.last)
        return in_order[begin:] + in_order[:begin]
