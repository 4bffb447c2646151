"""One order on a real device: what a batch becomes, and whose fault it is where it fails."""

from dataclasses import replace

import numpy as np

from devices.cpu import Cpu
from edge.core.events import Failed, Finished
from edge.data.job import TaskJob, TensorInput
from edge.runtime.execution import stacked
from porting.images import prepare
from tests.edge.daemon_builder import jpeg
from tests.edge.runtime.lane_by_hand import Lane, job_of


def test_a_batch_becomes_one_outcome_per_task(lane):
    variant, stages = lane.serve("paint")
    jobs = [job_of(variant, jpeg(colour)) for colour in ("red", "blue", "green")]
    tasks, event = lane.run(stages, jobs)
    assert isinstance(event, Finished)
    assert [*event.results] == [task.id for task in tasks]
    assert all(result.done for result in event.results.values())
    assert [job.outcome.found[0].label for job in jobs] == ["red", "blue", "green"]
    assert all(job.outcome.signals.answer.shape == (3,) and job.outcome.signals.features.shape == (3,) for job in jobs)
    assert 0 < sum(job.infer_ns + job.post_ns for job in jobs) < event.took_ns
    assert not any(job.tensors for job in jobs), "nothing is kept that nobody needs"


def test_stage_by_stage_is_the_same_as_back_to_back(lane):
    variant, stages = lane.serve("paint")
    chain = tuple(stage.digest for stage in stages)
    whole, parts = job_of(variant, jpeg("red")), job_of(variant, jpeg("red"))
    lane.run(stages, [whole])
    _, event = lane.run(stages[:1], [parts], chain=chain)
    assert [result.done for result in event.results.values()] == [False]
    spent_ns = parts.infer_ns
    _, event = lane.run(stages[1:], [parts], at=1, chain=chain)
    assert [result.done for result in event.results.values()] == [True]
    assert parts.infer_ns > spent_ns, "the decoding of the first stage is not taken off the second"
    np.testing.assert_allclose(parts.outcome.signals.answer, whole.outcome.signals.answer)
    np.testing.assert_allclose(parts.outcome.signals.features, whole.outcome.signals.features)


def test_the_last_stage_runs_where_the_first_was_never_loaded(lane, repository):
    other = Lane(Cpu("cpu1"), repository)
    variant, stages = lane.serve("paint")
    chain = tuple(stage.digest for stage in stages)
    other.threads.load(stages[1])
    other.next()
    job = job_of(variant, jpeg("green"))
    lane.run(stages[:1], [job], chain=chain)
    _, event = other.run(stages[1:], [job], at=1, chain=chain)
    other.threads.close()
    assert isinstance(event, Finished)
    assert job.outcome.found[0].label == "green"


def test_a_bad_picture_is_one_tasks_fault(lane):
    variant, stages = lane.serve("paint")
    tasks, event = lane.run(stages, [job_of(variant, jpeg("red")), job_of(variant, jpeg("red")[:-99])])
    assert isinstance(event, Failed)
    assert event.tasks == (tasks[1].id,)
    assert "JPEG" in event.reason


def test_a_step_says_whether_it_is_done_and_runs_again_where_it_was(lane, repository):
    from edge.observers.adaptation.observer import step_served

    served = step_served("paint", 10_000_000)
    given = []

    def step(budget_ns):
        given.append(budget_ns)
        return len(given) == 2

    job = TaskJob("adapt/paint", served.variant, step=step)
    results = [next(iter(lane.run(served.stages, [job])[1].results.values())) for _ in range(2)]
    assert [(result.done, result.next) for result in results] == [(False, 0), (True, None)]
    assert given == [10_000_000] * 2


def test_stacked_is_what_numpy_stacks():
    rows = [np.arange(6).reshape(2, 3) + k for k in range(3)]
    np.testing.assert_array_equal(stacked(rows), np.stack(rows))
    np.testing.assert_array_equal(stacked(rows[:1]), np.stack(rows[:1]))


# ---- tensors in the place of a frame


def as_given(job, spec):
    """The same frame, as a tensor that somebody has made of it."""
    return TaskJob(job.model, job.variant, given=TensorInput({spec.name: prepare(job.picture.pixels(), spec)}))


def test_tensors_and_frames_share_a_batch(lane):
    variant, stages = lane.serve("paint")
    spec = stages[0].input
    frames = [job_of(variant, jpeg(colour)) for colour in ("red", "blue")]
    jobs = [frames[0], as_given(frames[1], spec), as_given(frames[0], spec)]
    batches = watched(lane.threads.engine_cache.engines[stages[0].graph])
    tasks, event = lane.run(stages, jobs)
    assert [*event.results] == [task.id for task in tasks]
    assert batches == [3]
    assert frames[0].outcome.found[0].label == "red"
    assert [int(job.tensors["logits"].argmax()) for job in jobs[1:]] == [2, 0]


def watched(engine):
    """Sizes of the batches that it runs from now on."""
    batches, run = [], engine.run

    def counted(inputs):
        batches.append(len(next(iter(inputs.values()))))
        return run(inputs)

    engine.run = counted
    return batches


def test_heads_that_were_sent_along_share_a_batch_where_they_are_the_same(lane, repository):
    _, (_, head) = lane.serve("paint")
    bare = replace(head, head=None, blobs={head.graph: head.blobs[head.graph]})
    lane.threads.load(bare)
    lane.next()
    batches = watched(lane.threads.engine_cache.engines[bare.graph])
    mine = repository.arrays(head.head)
    other = {name: array[..., ::-1].copy() for name, array in mine.items()}
    features = {"features": np.array([1, 0, 0], np.float32)}
    variant = replace(repository.variant("paint", "fp32"), stages=(bare.digest,))
    jobs = [TaskJob("paint", variant, given=TensorInput(features, head)) for head in (mine, other, mine)]
    _, event = lane.run([bare], jobs)
    assert isinstance(event, Finished)
    assert len(event.results) == 3
    assert sorted(batches) == [1, 2]
    assert [int(job.tensors["logits"].argmax()) for job in jobs] == [0, 2, 0]
