"""Executes one order on a lane: decodes, builds the batch, runs its stages, reads the outputs; or runs one step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, Protocol

import numpy as np

from devices.interface import Array, Engine, RunStopped
from edge.core.events import StepResult, Task
from edge.data.job import TaskJob, TensorInput, WorkOrder
from edge.data.outcome import read
from edge.runtime.engine_cache import EngineCache
from porting.errors import BadImage
from porting.images import prepare
from porting.variant import Stage


class Executor(Protocol):
    """Executes orders of one sort, on the lane's threads."""

    def execute(self, order: WorkOrder) -> dict[int, StepResult]:
        """Returns the result of each task by its id.

        Raises `RunStopped`, `DeviceLost` and `DeviceError` of the device, and `BadPicture`.
        """


class StepExecutor:
    """Executes background work, one step of at most `step_ns` at a time."""

    def __init__(self, step_ns: int):
        self.step_ns = step_ns

    def execute(self, order: WorkOrder) -> dict[int, StepResult]:
        """Runs one step; where work is left, the task stays at the stage it was at."""
        (task,), (job,) = order.run.tasks, order.jobs
        assert job.step is not None
        done = job.step(self.step_ns)
        return {task.id: StepResult(done=done, next=None if done else task.at)}


class InferenceExecutor:
    """Executes orders whose stages are graphs.

    Args:
        shelf: returns what the lane has loaded now: another object after the device was lost and came back.
    """

    def __init__(self, engine_cache: Callable[[], EngineCache]):
        self.engine_cache = engine_cache
        self.running: Engine | None = None
        self.stopped_work = 0  # the last one that was told to stop: perhaps between two stages

    def stop(self, work_id: int) -> None:
        """Ends the work at the next chance. May be called from any thread."""
        self.stopped_work = work_id
        self.stop_engine()

    def stop_engine(self) -> None:
        """Ends the run of an engine that is under way. May be called from any thread."""
        if (engine := self.running) is not None:
            engine.stop()

    def execute(self, order: WorkOrder) -> dict[int, StepResult]:
        """Runs the tasks batch by batch: those of an order that cannot share one are run apart."""
        results: dict[int, StepResult] = {}
        for part in alike(order):
            results |= self._infer(part)
        return results

    def _infer(self, order: WorkOrder) -> dict[int, StepResult]:
        began = perf_counter_ns()
        known_ns = decoding_ns(order.jobs)
        pixels = [pixels_of(task.id, job) for task, job in zip(order.run.tasks, order.jobs, strict=True)]
        batch = first_inputs(order, pixels)
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
            results[task.id] = finish(task.id, job, pixels[row]) if last else StepResult(done=False)
        read_ns = (perf_counter_ns() - max(ended, decoded)) // len(order.jobs)
        for job in order.jobs:
            job.post_ns += read_ns
        return results

    def _run_stage(
        self, stage: Stage, batch: dict[str, Array], given: TensorInput | None, work_id: int
    ) -> dict[str, Array]:
        """Returns the outputs, and the inputs with them: the features that a head takes are wanted afterwards too."""
        engine_cache = self.engine_cache()
        engine = self.running = engine_cache.engines.get(stage.graph)
        if engine is None or (stage.head and stage.head not in engine_cache.heads):
            raise RunStopped("the lane was lost since it was ordered")
        head = engine_cache.heads[stage.head] if stage.head else given.head if given else {}
        wanted = {spec.name for spec in engine.inputs}
        try:
            if self.stopped_work == work_id:
                raise RunStopped("stopped")
            outputs = engine.run({name: array for name, array in (*batch.items(), *head.items()) if name in wanted})
        finally:
            self.running = None
        kept = {} if stage.input is not None else batch
        return {**kept, **outputs}


def pixels_of(task_id: int, job: TaskJob) -> Array | None:
    """Returns the decoded picture of a task, or None where it came as tensors. Raises `BadPicture`."""
    if job.picture is None:
        return None
    try:
        return job.picture.pixels()
    except BadImage as error:
        raise BadPicture(task_id, str(error)) from error


def first_inputs(order: WorkOrder, pixels: Sequence[Array | None]) -> dict[str, Array]:
    """Returns the batch that the order's first stage takes, by input name: [task, …], in the order of the tasks."""
    spec = order.stages[0].input
    rows = [inputs_of(task, job) for task, job in zip(order.run.tasks, order.jobs, strict=True)]
    if spec is None:
        return {name: stacked([row[name] for row in rows]) for name in rows[0]}
    images = zip(rows, pixels, strict=True)
    return {spec.name: stacked([row[spec.name] if image is None else prepare(image, spec) for row, image in images])}


def inputs_of(task: Task, job: TaskJob) -> Mapping[str, Array]:
    """Returns what the task's next stage takes, no batch axis: what was given, later what the last stage has left."""
    return job.given.rows if job.given is not None and task.at == 0 else job.tensors


def finish(task_id: int, job: TaskJob, pixels: Array | None) -> StepResult:
    """Reads the outputs of a task's last stage by their format; a tensor request is answered with them as they are.

    Raises `BadPicture` where the format cannot read them: a format may come from outside, and fails its task alone.
    """
    if job.given is not None:
        return StepResult()
    assert pixels is not None
    assert job.variant.output is not None
    assert job.input is not None
    try:
        result, job.outcome = read(job.variant.output, job.input, job.model, job.tensors, pixels)
    except Exception as error:
        raise BadPicture(
            task_id, f"{job.variant.output.kind} cannot read it: {type(error).__name__}: {error}"
        ) from error
    job.tensors = {}
    return result


def alike(order: WorkOrder) -> Iterator[WorkOrder]:
    """Yields the parts of an order that share a batch: their tasks have the same inputs, and the same head or none."""
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
    """Returns the time that their pictures have taken to decode so far. Each is decoded once for all its models."""
    return sum(job.picture.decode_ns for job in jobs if job.picture)


def stacked(arrays: Sequence[Array]) -> Array:
    """Returns them with a batch axis in front; one alone as a view, since a copy costs more than a small head."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


class BadPicture(Exception):
    """Says that a task's frame, or its answer, cannot be read: it fails, and its batch is run again without it."""

    def __init__(self, task_id: int, reason: str):
        super().__init__(reason)
        self.task_id = task_id
