"""A queue as a lane sees it: which part of it could run as one batch at some moment and still be in time.

A batch need not begin with the head. A head that is due soon allows a small batch only; left behind, it lets a larger
one through, and large batches cost less per task. Nexus (SOSP 2019) and Symphony (2023) drop heads for that reason.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from edge.core.events import Time
from edge.core.state import Entry

PLACES = 5  # between the head and where the largest batch begins


@dataclass(slots=True)
class QueueView:
    """`queue`: in the order of deadlines, which are the first of each order. `sizes`: accepted batches, ascending, and
    `durations_ns` of each, margin included. `tail_ns`: what the chain takes after this stage.
    """

    digest: str
    queue: Sequence[Entry]
    sizes: Sequence[int]
    durations_ns: Sequence[int]
    tail_ns: Time
    weight: float = 1.0
    skip: int = 0  # the largest batch begins behind so many,
    batch: int = 0  # has so many tasks,
    until_ns: Time = 0  # and can begin so late

    def due_ns(self, at: int) -> Time:
        """When the task at this place has to be through with its next stage."""
        return int(self.queue[at][0][0]) - self.tail_ns

    def size_from(self, at: int, now: Time) -> int:
        """The largest accepted batch that begins with the task at this place and ends before it is due; or 0."""
        waiting = len(self.queue) - at
        count = bisect_right(self.durations_ns, int(self.queue[at][0][0]) - self.tail_ns - now)
        if not count:
            return 0
        size = self.sizes[count - 1]
        return size if size <= waiting else self.sizes[bisect_right(self.sizes, waiting) - 1]

    def look(self, now: Time) -> None:
        """Find the largest batch that may begin now."""
        self.skip, self.batch = self.largest(now)
        if self.batch:
            took_ns = self.durations_ns[bisect_right(self.sizes, self.batch) - 1]
            self.until_ns = self.due_ns(self.skip) - took_ns

    def largest(self, now: Time) -> tuple[int, int]:
        """`(skip, batch)`. Behind a later head deadlines allow more and fewer wait: the largest is where they meet."""
        queue, sizes, durations_ns = self.queue, self.sizes, self.durations_ns
        shift, waiting, most = self.tail_ns + now, len(queue), sizes[-1]
        low, high = 0, waiting  # the first place from which as many could run as wait there
        while low < high:
            middle = (low + high) // 2
            left = waiting - middle
            count = bisect_right(durations_ns, queue[middle][0][0] - shift)
            if count and (sizes[count - 1] >= left or sizes[count - 1] == most):
                high = middle
            else:
                low = middle + 1
        at_meeting = self.size_from(low, now) if low < waiting else 0
        before = self.size_from(low - 1, now) if low else 0
        return (low - 1, before) if before >= at_meeting else (low, at_meeting)

    def starts(self, now: Time) -> list[tuple[int, int]]:
        """Batches worth comparing, `(skip, batch)`: from the head, the largest, and some between; each larger than the
        ones before.
        """
        found: list[tuple[int, int]] = []
        steps = min(self.skip, PLACES)
        for step in range(steps + 1):
            skip = self.skip * step // steps if steps else 0
            size = self.batch if skip == self.skip else self.size_from(skip, now)
            if size > (found[-1][1] if found else 0):
                found.append((skip, size))
        return found

    def lost(self, time_ns: Time) -> int:
        """By how much its largest batch shrinks if nobody is served before `time_ns`."""
        if time_ns <= self.until_ns:
            return 0
        return max(0, self.batch - self.largest(time_ns)[1])
