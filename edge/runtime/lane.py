"""A lane at work: its threads, its loaded engines, and how one order becomes tensors and results."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from time import monotonic_ns, perf_counter_ns
from typing import Any

import numpy as np

from devices.interface import Array, Device, DeviceError, DeviceLost, Engine
from devices.interface import Stopped as EngineStopped
from edge.core.events import (
    Event,
    Evicted,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Loaded,
    LoadFailed,
    Run,
    StepResult,
    Stopped,
    Task,
)
from edge.data.outcome import Outcome, read
from edge.data.picture import Picture
from porting.errors import BadImage, UserError
from porting.images import prepare
from porting.repository.repository import Repository
from porting.variant import InputSpec, Stage, Variant

CLOSE_S = 2.0  # for a thread to come back from the device
BACK_S = 0.5  # after which a device that was lost is looked for again
Step = Callable[[int], bool]  # background work: takes a budget in ns, says whether it is done


@dataclass(frozen=True, slots=True)
class Given:
    """What the first stage takes, where somebody sent it: a row of each input, without the batch axis.

    `head`: inputs that all rows share, for a stage that has none of its own. Equal ones are one object.
    """

    rows: Mapping[str, Array] = field(default_factory=dict)
    head: Mapping[str, Array] = field(default_factory=dict)


@dataclass(slots=True)
class Job:
    """All that a lane knows of one task, from its first order until its request is answered."""

    model: str
    variant: Variant
    picture: Picture | None = None
    step: Step | None = None
    parent: int | None = None  # task id
    item: int = 0
    input: InputSpec | None = None  # of its first stage, which may be on another lane or gone by the time of the last
    tensors: dict[str, Array] = field(default_factory=dict)  # left by the last stage, no batch axis
    given: "Given | None" = None  # it came with tensors, and its last tensors are the answer
    outcome: Outcome = field(default_factory=Outcome)
    infer_ns: int = 0
    post_ns: int = 0


@dataclass(slots=True)
class Order:
    """A `Run` with everything the lane thread needs, so that it never looks at the core's state."""

    run: Run
    stages: tuple[Stage, ...]
    jobs: tuple[Job, ...]


class Shelf:
    """What is loaded on one lane: engines by graph, heads by blob. A graph that two stages share is loaded once."""

    def __init__(self, device: Device, repository: Repository):
        self.device, self.repository = device, repository
        self.stages: dict[str, Stage] = {}
        self.engines: dict[str, Engine] = {}
        self.heads: dict[str, dict[str, Array]] = {}

    def load(self, stage: Stage) -> None:
        """Raises `DeviceError` or `CorruptBlob`."""
        if stage.kind == "onnx":
            # The head first: where it is damaged, no engine is left behind that no stage owns.
            head = self.repository.arrays(stage.head) if stage.head and stage.head not in self.heads else None
            if stage.graph not in self.engines:
                self.engines[stage.graph] = self.device.load(self.repository.blob(stage.graph), stage.batches)
            if stage.head and head is not None:
                self.heads[stage.head] = head
        self.stages[stage.digest] = stage

    def evict(self, digest: str) -> None:
        gone = self.stages.pop(digest, None)
        if gone is None:  # the lane was lost since, and with it all that was here
            return
        if not any(stage.graph == gone.graph for stage in self.stages.values()) and gone.graph in self.engines:
            self.engines.pop(gone.graph).close()
        if gone.head and not any(stage.head == gone.head for stage in self.stages.values()):
            self.heads.pop(gone.head, None)

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()


class LaneThreads:
    """One thread for work with a deadline, one for work without, one that loads.

    The scheduler gives a lane one work at a time, so the first two never run together.
    """

    def __init__(
        self, device: Device, repository: Repository, post: Callable[[Event | BaseException], None], step_ns: int
    ):
        self.name = device.name
        self.device, self.post, self.step_ns = device, post, step_ns
        self.shelf = Shelf(device, repository)
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

    def run(self, order: Order) -> None:
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
            self.shelf, self.life = Shelf(self.device, self.shelf.repository), self.life + 1
            self.lost = False
        return LaneUp(self.name, self.device.kind, self.device.memory_bytes)

    def _execute(self, order: Order) -> Event:
        work_id = order.run.work_id
        if monotonic_ns() > order.run.latest_ns:
            return Stopped(work_id)
        began = perf_counter_ns()
        try:
            results = self._step(order) if order.stages[0].kind == "step" else self._infer_all(order)
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

    def _step(self, order: Order) -> dict[int, StepResult]:
        (task,), (job,) = order.run.tasks, order.jobs
        assert job.step is not None
        done = job.step(self.step_ns)
        return {task.id: StepResult(done=done, next=None if done else task.at)}

    def _infer_all(self, order: Order) -> dict[int, StepResult]:
        results: dict[int, StepResult] = {}
        for part in alike(order):
            results |= self._infer(part)
        return results

    def _infer(self, order: Order) -> dict[int, StepResult]:
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

    def _pixels(self, task_id: int, job: Job) -> Array | None:
        """None: it came as tensors."""
        if job.picture is None:
            return None
        try:
            return job.picture.pixels()
        except BadImage as error:
            raise BadPicture(task_id, str(error)) from error

    def _first_inputs(self, order: Order, pixels: Sequence[Array | None]) -> dict[str, Array]:
        spec = order.stages[0].input
        rows = [inputs_of(task, job) for task, job in zip(order.run.tasks, order.jobs, strict=True)]
        if spec is None:
            return {name: stacked([row[name] for row in rows]) for name in rows[0]}
        images = zip(rows, pixels, strict=True)
        return {
            spec.name: stacked([row[spec.name] if image is None else prepare(image, spec) for row, image in images])
        }

    def _run_stage(self, stage: Stage, batch: dict[str, Array], given: Given | None, work_id: int) -> dict[str, Array]:
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

    def _finish(self, job: Job, pixels: Array | None) -> StepResult:
        if job.given is not None:
            return StepResult()
        assert pixels is not None
        assert job.variant.output is not None
        assert job.input is not None
        result, job.outcome = read(job.variant.output, job.input, job.model, job.tensors, pixels)
        job.tensors = {}
        return result


def inputs_of(task: Task, job: Job) -> Mapping[str, Array]:
    """What its next stage takes: what was given, at first; then what the last stage has left."""
    return job.given.rows if job.given is not None and task.at == 0 else job.tensors


def alike(order: Order) -> Iterator[Order]:
    """Tasks share a batch on the device where they have the same inputs, and bring the same head or none."""
    if all(job.given is None for job in order.jobs):
        yield order
        return
    parts: dict[Any, list[tuple[Task, Job]]] = {}
    pictured = order.stages[0].input is not None
    for task, job in zip(order.run.tasks, order.jobs, strict=True):
        names = () if pictured else tuple(inputs_of(task, job))
        parts.setdefault((names, id(job.given.head) if job.given and job.given.head else 0), []).append((task, job))
    for pairs in parts.values():
        tasks, jobs = zip(*pairs, strict=True)
        yield Order(replace(order.run, tasks=tasks), order.stages, jobs)


def decoding_ns(jobs: Sequence[Job]) -> int:
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
