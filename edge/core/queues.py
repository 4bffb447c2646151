"""Holds the tasks that wait, sorted, in one queue for each stage."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Any

from edge.core.events import Task

Key = tuple[Any, ...]  # what `Policy.order` says of a task: smaller goes first
Entry = tuple[Key, int, Task]  # key, task id, task: no two entries are equal, so tasks are never compared


class Queues(dict[str, list[Entry]]):
    """Maps the digest of a stage to the tasks that wait for it, sorted by key, then by task id.

    A stage that no task waits for has no entry, and a queue is never empty. Only the scheduler calls what changes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[int, Key] = {}  # by task id: a task is found again under the key that it came with

    def push(self, task: Task, key: Key) -> None:
        """Inserts a task into the queue of its next stage."""
        entry, digest = (key, task.id, task), task.chain[task.at]
        self._keys[task.id] = key
        if (queue := self.get(digest)) is None:
            self[digest] = [entry]
        else:
            insort(queue, entry)

    def pop(self, task: Task) -> None:  # type: ignore[override]
        """Removes a task from its queue, whether it is to run or was given up. Asserts that it waits there."""
        digest = task.chain[task.at]
        queue = self[digest]
        at = bisect_left(queue, (self._keys.pop(task.id), task.id))
        assert queue[at][2] is task, f"{task} does not wait for {digest}"
        del queue[at]
        if not queue:
            del self[digest]

    def head(self, digest: str) -> Task | None:
        """Returns the task that goes first of those that wait for a stage; `None` where none waits."""
        queue = self.get(digest)
        return queue[0][2] if queue else None

    def heads(self) -> list[Task]:
        """Returns the first task of each queue."""
        return [queue[0][2] for queue in self.values()]

    def tasks(self) -> Iterator[Task]:
        """Yields every waiting task, queue by queue. The queues must not change meanwhile."""
        return (entry[2] for queue in self.values() for entry in queue)

    def expire(self, over: Callable[[Task], bool]) -> Iterator[Task]:
        """Removes, one by one, the tasks for which `over` holds, and yields each once it is out of its queue."""
        for task in [*self.tasks()]:
            if over(task):
                self.pop(task)
                yield task
