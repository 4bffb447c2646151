"""Runs a lane: its threads, the queues of its orders, what it has loaded, and its device, which may be lost."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic_ns, perf_counter_ns
from typing import Any

from devices.interface import Device, DeviceError, DeviceLost, RunStopped, traits_of
from edge.core.events import (
    Event,
    Evicted,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Loaded,
    LoadFailed,
    Stopped,
)
from edge.data.job import WorkOrder
from edge.runtime.engine_cache import EngineCache
from edge.runtime.execution import BadPicture, Executor, InferenceExecutor, StepExecutor
from porting.errors import UserError
from porting.repository.repository import Repository
from porting.variant import Stage

CLOSE_S = 2.0  # for a thread to come back from the device
BACK_S = 0.5  # after which a device that was lost is looked for again


class LaneThreads:
    """Runs one thread for work with a deadline, one for work without, and one that loads.

    The scheduler gives a lane one work at a time, so the first two never run together. The loop thread gives orders;
    what comes of them is posted to it.

    Args:
        post: takes events, and exceptions that nothing here expects: those are raised on the loop thread.
        step_ns: the longest single step of background work.
    """

    def __init__(
        self, device: Device, repository: Repository, post: Callable[[Event | BaseException], None], step_ns: int
    ):
        self.name = device.name
        self.device, self.post = device, post
        self.engine_cache = EngineCache(device, repository)
        self.orders: tuple[SimpleQueue[Any], ...] = tuple(SimpleQueue() for _ in range(3))
        self.losing = threading.Lock()
        self.life = 0  # of the shelf: what was ordered in an earlier one is not wanted in this one
        self.lost = False  # the device is gone, and the loading thread waits for it
        self.closed = threading.Event()
        self.inference = InferenceExecutor(lambda: self.engine_cache)
        self.steps = StepExecutor(step_ns)
        self.threads = [
            threading.Thread(
                target=self._serve, args=(queue, label == "background"), name=f"{self.name}/{label}", daemon=True
            )
            for queue, label in zip(self.orders, ("run", "background", "load"), strict=True)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self.threads:
            thread.start()

    def run(self, order: WorkOrder) -> None:
        """Queues an order. `Finished`, `Failed`, or `Stopped` where it is too late or was stopped, is posted."""
        self.orders[order.run.background].put(lambda: self._execute(order))

    def load(self, stage: Stage) -> None:
        """Queues a load. `Loaded` or `LoadFailed` is posted; nothing where the device was lost in the meantime."""
        life = self.life
        self.orders[2].put(lambda: self._load(stage) if life == self.life else None)

    def evict(self, digest: str) -> None:
        """Queues an eviction. `Evicted` is posted."""
        self.orders[2].put(lambda: self._evict(digest))

    def stop(self, work_id: int) -> None:
        """Ends the work at the next chance; a step of background work is short and ends by itself."""
        self.inference.stop(work_id)

    def close(self) -> None:
        """Ends the threads. One that does not come back from the device is left behind: it dies with the process."""
        self.closed.set()
        for queue in self.orders:
            queue.put(None)
        self.inference.stop_engine()  # its answer is no longer wanted
        for thread in self.threads:
            if thread.ident is not None:  # never started where the daemon was refused before its lanes came up
                thread.join(timeout=CLOSE_S)
        self.engine_cache.close()

    def _serve(self, queue: "SimpleQueue[Callable[[], Event | None] | None]", background: bool) -> None:
        self.device.enter(background)
        while (work := queue.get()) is not None:
            try:
                if (event := work()) is not None:
                    self.post(event)
            except BaseException as bug:  # not expected, so a bug: the loop thread raises it and the daemon stops
                self.post(bug)
                return

    def _load(self, stage: Stage) -> Event:
        try:
            self.engine_cache.load(stage)
        except DeviceLost as error:
            self._lose(error)
            return LoadFailed(self.name, stage.digest, str(error))  # the core ignores it: the lane is down
        except (DeviceError, UserError, OSError) as error:
            return LoadFailed(self.name, stage.digest, str(error))
        return Loaded(self.name, stage.digest)

    def _evict(self, digest: str) -> Event:
        self.engine_cache.evict(digest)
        return Evicted(self.name, digest)

    def _lose(self, error: DeviceLost) -> None:
        """Takes the lane down until the device is back; several threads may find out, the first one says so."""
        with self.losing:
            if not self.lost:
                self.lost = True
                self.post(LaneDown(self.name, str(error)))
                self.orders[2].put(lambda: self._return(error.back))

    def _return(self, back: Callable[[], bool]) -> Event:
        """Waits for the device. Nothing is loaded there any more."""
        while not self.closed.is_set() and not back():
            self.closed.wait(BACK_S)
        with self.losing:
            self.engine_cache.close()
            self.engine_cache, self.life = EngineCache(self.device, self.engine_cache.repository), self.life + 1
            self.lost = False
        return lane_up(self.device)

    def _execute(self, order: WorkOrder) -> Event:
        work_id = order.run.work_id
        if monotonic_ns() > order.run.latest_ns:
            return Stopped(work_id)
        began = perf_counter_ns()
        try:
            results = self._executor(order).execute(order)
        except RunStopped:
            return Stopped(work_id)
        except DeviceLost as error:
            self._lose(error)
            return Stopped(work_id)  # ignored: the core took the work back when the lane went down
        except DeviceError as error:
            return Failed(work_id, str(error))
        except BadPicture as error:
            return Failed(work_id, str(error), (error.task_id,))
        return Finished(work_id, results, perf_counter_ns() - began)

    def _executor(self, order: WorkOrder) -> Executor:
        return self.steps if order.stages[0].is_step else self.inference


def lane_up(device: Device) -> LaneUp:
    """Returns what the core is told when the lane of this device comes up."""
    return LaneUp(device.name, device.kind, device.memory_bytes, traits_of(device))
