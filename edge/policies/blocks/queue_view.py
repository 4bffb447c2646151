"""Finds the batches of a queue that could start at a given time and still be in time.

A batch need not begin with the head. A head that is due soon allows only a small batch; skipping it permits a larger
one, and large batches cost less per task. Nexus (SOSP 2019) and Symphony (2023) drop heads for that reason.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from edge.core.events import Time
from edge.core.queues import Entry

PLACES = 5  # steps between the head and the start of the largest batch at which a batch is examined


@dataclass(slots=True)
class QueueView:
    """Describes a queue as a lane sees it, with its largest batch after `look`.

    `digest`: stage that the tasks wait for.
    `queue`: entries whose sort key begins with the deadline, ascending.
    `sizes`: batch sizes that are accepted, ascending.
    `durations_ns`: duration of each size, margin included, ascending.
    `tail_ns`: duration of the chain after this stage.
    `weight`: value of one task in time.
    """

    digest: str
    queue: Sequence[Entry]
    sizes: Sequence[int]
    durations_ns: Sequence[int]
    tail_ns: Time
    weight: float = 1.0
    skip: int = 0  # number of tasks before the largest batch
    batch: int = 0  # its number of tasks
    until_ns: Time = 0  # latest time at which it can begin

    def due_ns(self, at: int) -> Time:
        """Returns when the task at this place must have finished its next stage."""
        return int(self.queue[at][0][0]) - self.tail_ns

    def size_from(self, at: int, now: Time) -> int:
        """Returns the largest accepted batch from this place on that ends in time for its first task; 0: none."""
        waiting = len(self.queue) - at
        count = bisect_right(self.durations_ns, int(self.queue[at][0][0]) - self.tail_ns - now)
        if not count:
            return 0
        size = self.sizes[count - 1]
        return size if size <= waiting else self.sizes[bisect_right(self.sizes, waiting) - 1]

    def look(self, now: Time) -> None:
        """Finds the largest batch that may begin now; to be called before reading `skip`, `batch` and `until_ns`."""
        self.skip, self.batch = self.largest(now)
        if self.batch:
            took_ns = self.durations_ns[bisect_right(self.sizes, self.batch) - 1]
            self.until_ns = self.due_ns(self.skip) - took_ns

    def largest(self, now: Time) -> tuple[int, int]:
        """Returns `(skip, batch)` of the largest batch that may begin now; the batch is 0 if there is none.

        Behind a later head deadlines allow larger batches but fewer tasks wait: the largest batch is where the two
        meet.
        """
        queue, sizes, durations_ns = self.queue, self.sizes, self.durations_ns
        shift, waiting, most = self.tail_ns + now, len(queue), sizes[-1]
        low, high = 0, waiting  # bisection for the first place from which as many could run as wait there
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
        """Returns batches worth comparing as `(skip, batch)`: from the head, the largest, and some in between.

        Each is larger than the ones before.
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
        """Returns by how many tasks the largest batch shrinks if the queue is not served before `time_ns`."""
        if time_ns <= self.until_ns:
            return 0
        return max(0, self.batch - self.largest(time_ns)[1])
