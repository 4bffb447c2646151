"""A lane at work: its threads, its loaded engines, and how one order becomes tensors and results."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from time import monotonic_ns, perf_counter_ns
from typing import Any

import numpy as np

from devices.interface import Array, Device, DeviceError, DeviceLost, Engine, traits_of
from devices.interface import RunStopped as EngineStopped
from edge.core.events import (
    Event,
    Evicted,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Loaded,
    LoadFailed,
    StepResult,
    Stopped,
    Task,
)
from edge.data.job import TaskJob, TensorInput, WorkOrder
from edge.data.outcome import read
from edge.runtime.engine_cache import EngineCache
from porting.errors import BadImage, UserError
from porting.images import prepare
from porting.repository.repository import Repository
from porting.variant import Stage

CLOSE_S = 2.0  # for a thread to come back from the device
BACK_S = 0.5  # after which a device that was lost is looked for again


class LaneThreads:
    """One thread for work with a deadline, one for work without, one that loads.

    The scheduler gives a lane one work at a time, so the first two never run together.
    """

    def __init__(
        self, device: Device, repository: Repository, post: Callable[[Event | BaseException], None], step_ns: int
    ):
        self.name = device.name
        self.device, self.post, self.step_ns = device, post, step_ns
        self.shelf = EngineCache(device, repository)
        self.orders: tuple[SimpleQueue[Any], ...] = tuple(SimpleQueue() for _ in range(3))
        self.losing = threading.Lock()
        self.life = 0  # of the shelf: what was ordered in an earlier one is not wanted in this one
        self.lost = False  # the device is gone, and somebody waits for it
        self.closed = threading.Event()
        self.running: Engine | None = None
        self.stopped_work = 0  # the last one that was told to stop: perhaps between two stages
        self.threads = [
            threading.Thread(
                target=self._serve, args=(queue, label == "background"), name=f"{self.name}/{label}", daemon=True
            )
            for queue, label in zip(self.orders, ("run", "background", "load"), strict=True)
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def run(self, order: WorkOrder) -> None:
        self.orders[order.run.background].put(lambda: self._execute(order))

    def load(self, stage: Stage) -> None:
        life = self.life
        self.orders[2].put(lambda: self._load(stage) if life == self.life else None)

    def evict(self, digest: str) -> None:
        self.orders[2].put(lambda: self._evict(digest))

    def stop(self, work_id: int) -> None:
        """The work ends at the next chance; a step of background work is short and ends by itself."""
        self.stopped_work = work_id
        self._stop_engine()

    def _stop_engine(self) -> None:
        if (engine := self.running) is not None:
            engine.stop()

    def close(self) -> None:
        """End the threads. One that does not come back from the device is left behind: it dies with the process."""
        self.closed.set()
        for queue in self.orders:
            queue.put(None)
        self._stop_engine()  # whoever wanted it is gone
        for thread in self.threads:
            if thread.ident is not None:  # never started where the daemon was refused before its lanes came up
                thread.join(timeout=CLOSE_S)
        self.shelf.close()

    def _serve(self, queue: "SimpleQueue[Callable[[], Event | None] | None]", background: bool) -> None:
        self.device.enter(background)
        while (work := queue.get()) is not None:
            try:
                if (event := work()) is not None:
                    self.post(event)
            except BaseException as bug:  # not foreseen, so ours: the loop thread raises it and the daemon stops
                self.post(bug)
                return

    def _load(self, stage: Stage) -> Event:
        try:
            self.shelf.load(stage)
        except DeviceLost as error:
            self._lose(error)
            return LoadFailed(self.name, stage.digest, str(error))  # of a lane that is down: nobody listens
        except (DeviceError, UserError, OSError) as error:
            return LoadFailed(self.name, stage.digest, str(error))
        return Loaded(self.name, stage.digest)

    def _evict(self, digest: str) -> Event:
        self.shelf.evict(digest)
        return Evicted(self.name, digest)

    def _lose(self, error: DeviceLost) -> None:
        """The lane is down until the device is back; several threads may find out, the first one says so."""
        with self.losing:
            if not self.lost:
                self.lost = True
                self.post(LaneDown(self.name, str(error)))
                self.orders[2].put(lambda: self._return(error.back))

    def _return(self, back: Callable[[], bool]) -> Event:
        """Wait for the device. Nothing is loaded there any more."""
        while not self.closed.is_set() and not back():
            self.closed.wait(BACK_S)
        with self.losing:
            self.shelf.close()
            self.shelf, self.life = EngineCache(self.device, self.shelf.repository), self.life + 1
            self.lost = False
        return lane_up(self.device)

    def _execute(self, order: WorkOrder) -> Event:
        work_id = order.run.work_id
        if monotonic_ns() > order.run.latest_ns:
            return Stopped(work_id)
        began = perf_counter_ns()
        try:
            results = self._step(order) if order.stages[0].is_step else self._infer_all(order)
        except EngineStopped:
            return Stopped(work_id)
        except DeviceLost as error:
            self._lose(error)
            return Stopped(work_id)  # nobody listens: the work was taken back when the lane went down
        except DeviceError as error:
            return Failed(work_id, str(error))
        except BadPicture as error:
            return Failed(work_id, str(error), (error.task_id,))
        return Finished(work_id, results, perf_counter_ns() - began)

    def _step(self, order: WorkOrder) -> dict[int, StepResult]:
        (task,), (job,) = order.run.tasks, order.jobs
        assert job.step is not None
        done = job.step(self.step_ns)
        return {task.id: StepResult(done=done, next=None if done else task.at)}

    def _infer_all(self, order: WorkOrder) -> dict[int, StepResult]:
        results: dict[int, StepResult] = {}
        for part in alike(order):
            results |= self._infer(part)
        return results

    def _infer(self, order: WorkOrder) -> dict[int, StepResult]:
        began = perf_counter_ns()
        known_ns = decoding_ns(order.jobs)
        pixels = [self._pixels(task.id, job) for task, job in zip(order.run.tasks, order.jobs, strict=True)]
        batch = self._first_inputs(order, pixels)
        decoded = perf_counter_ns()
        for stage in order.stages:
            batch = self._run_stage(stage, batch, order.jobs[0].given, order.run.work_id)
        ended = perf_counter_ns()
        share_ns = max(0, ended - began - (decoding_ns(order.jobs) - known_ns)) // len(order.jobs)
        results = {}
        for row, (task, job) in enumerate(zip(order.run.tasks, order.jobs, strict=True)):
            job.tensors = {name: tensor[row] for name, tensor in batch.items()}
            job.input, job.infer_ns = order.stages[0].input or job.input, job.infer_ns + share_ns
            last = task.at + len(order.stages) == len(task.chain)
            results[task.id] = self._finish(job, pixels[row]) if last else StepResult(done=False)
        read_ns = (perf_counter_ns() - max(ended, decoded)) // len(order.jobs)
        for job in order.jobs:
            job.post_ns += read_ns
        return results

    def _pixels(self, task_id: int, job: TaskJob) -> Array | None:
        """None: it came as tensors."""
        if job.picture is None:
            return None
        try:
            return job.picture.pixels()
        except BadImage as error:
            raise BadPicture(task_id, str(error)) from error

    def _first_inputs(self, order: WorkOrder, pixels: Sequence[Array | None]) -> dict[str, Array]:
        spec = order.stages[0].input
        rows = [inputs_of(task, job) for task, job in zip(order.run.tasks, order.jobs, strict=True)]
        if spec is None:
            return {name: stacked([row[name] for row in rows]) for name in rows[0]}
        images = zip(rows, pixels, strict=True)
        return {
            spec.name: stacked([row[spec.name] if image is None else prepare(image, spec) for row, image in images])
        }

    def _run_stage(
        self, stage: Stage, batch: dict[str, Array], given: TensorInput | None, work_id: int
    ) -> dict[str, Array]:
        """What went in goes along with what comes out: the features that a head takes are wanted afterwards too."""
        shelf = self.shelf
        engine = self.running = shelf.engines.get(stage.graph)
        if engine is None or (stage.head and stage.head not in shelf.heads):
            raise EngineStopped("the lane was lost since it was ordered")
        head = shelf.heads[stage.head] if stage.head else given.head if given else {}
        wanted = {spec.name for spec in engine.inputs}
        try:
            if self.stopped_work == work_id:
                raise EngineStopped("stopped")
            outputs = engine.run({name: array for name, array in (*batch.items(), *head.items()) if name in wanted})
        finally:
            self.running = None
        kept = {} if stage.input is not None else batch
        return {**kept, **outputs}

    def _finish(self, job: TaskJob, pixels: Array | None) -> StepResult:
        if job.given is not None:
            return StepResult()
        assert pixels is not None
        assert job.variant.output is not None
        assert job.input is not None
        result, job.outcome = read(job.variant.output, job.input, job.model, job.tensors, pixels)
        job.tensors = {}
        return result


def lane_up(device: Device) -> LaneUp:
    """Returns what the core is told when the lane of this device comes up."""
    return LaneUp(device.name, device.kind, device.memory_bytes, traits_of(device))


def inputs_of(task: Task, job: TaskJob) -> Mapping[str, Array]:
    """What its next stage takes: what was given, at first; then what the last stage has left."""
    return job.given.rows if job.given is not None and task.at == 0 else job.tensors


def alike(order: WorkOrder) -> Iterator[WorkOrder]:
    """Tasks share a batch on the device where they have the same inputs, and bring the same head or none."""
    if all(job.given is None for job in order.jobs):
        yield order
        return
    parts: dict[Any, list[tuple[Task, TaskJob]]] = {}
    pictured = order.stages[0].input is not None
    for task, job in zip(order.run.tasks, order.jobs, strict=True):
        names = () if pictured else tuple(inputs_of(task, job))
        parts.setdefault((names, id(job.given.head) if job.given and job.given.head else 0), []).append((task, job))
    for pairs in parts.values():
        tasks, jobs = zip(*pairs, strict=True)
        yield WorkOrder(replace(order.run, tasks=tasks), order.stages, jobs)


def decoding_ns(jobs: Sequence[TaskJob]) -> int:
    """Time that their pictures have taken to decode so far; a picture that several models look at is decoded once."""
    return sum(job.picture.decode_ns for job in jobs if job.picture)


def stacked(arrays: Sequence[Array]) -> Array:
    """With a batch axis in front. A batch of one is a view: copying a picture costs more than a small model's head."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


class BadPicture(Exception):
    """The frame of one task is no picture: that task fails, the rest of its batch is run again without it."""

    def __init__(self, task_id: int, reason: str):
        super().__init__(reason)
        self.task_id = task_id
