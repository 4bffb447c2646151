"""A lane at work on a real device: what is loaded, what a batch becomes, and what is whose fault."""

import threading
from dataclasses import replace
from itertools import count
from time import monotonic_ns

import numpy as np
import pytest

from devices.cpu import Cpu
from devices.interface import DeviceLost
from devices.traits import Traits
from edge.core.events import NEVER, Evicted, Failed, Finished, LaneDown, LaneUp, Loaded, LoadFailed, Run, Stopped, Task
from edge.data.job import TaskJob, TensorInput, WorkOrder
from edge.data.picture import Picture
from edge.runtime.engine_cache import EngineCache
from edge.runtime.lane import LaneThreads, lane_up, stacked
from porting.images import prepare
from porting.repository.repository import Repository
from tests.edge.daemon_builder import TightCpu, WeatherCpu, jpeg, swapped


@pytest.fixture
def repository(box):
    return Repository(box / "repository")


@pytest.fixture
def lane(repository):
    made = Lane(Cpu(), repository)
    yield made
    made.threads.close()


class Lane:
    """Threads of a lane whose events are waited for one by one."""

    def __init__(self, device, repository):
        self.events, self.came = [], threading.Condition()
        self.repository = repository
        self.threads = LaneThreads(device, repository, self.post, step_ns=10_000_000)
        self.threads.start()
        self.ids = count(1)

    def post(self, event):
        with self.came:
            self.events.append(event)
            self.came.notify()

    def next(self):
        with self.came:
            assert self.came.wait_for(lambda: self.events, 10)
            return self.events.pop(0)

    def serve(self, model, variant="fp32"):
        found = self.repository.variant(model, variant)
        stages = self.repository.stages(found, "cpu")
        for stage in stages:
            self.threads.load(stage)
            assert self.next() == Loaded(self.threads.name, stage.digest)
        return found, stages

    def run(self, stages, jobs, at=0, chain=None, latest_ns=NEVER):
        chain = chain or tuple(stage.digest for stage in stages)
        tasks = tuple(Task(next(self.ids), 1, job.model, chain, at, 0, None) for job in jobs)
        digests = tuple(stage.digest for stage in stages)
        run = Run(next(self.ids), self.threads.name, digests, tasks, latest_ns=latest_ns)
        self.threads.run(WorkOrder(run, tuple(stages), tuple(jobs)))
        return tasks, self.next()


def job_of(variant, payload):
    return TaskJob(variant.model, variant, Picture(payload))


@pytest.mark.parametrize(("window_s", "event"), [(-1, Stopped), (60, Finished)])
def test_an_order_that_is_heard_too_late_is_given_back(lane, window_s, event):
    variant, stages = lane.serve("paint")
    job = job_of(variant, jpeg("red"))
    _, answered = lane.run(stages, [job], latest_ns=monotonic_ns() + window_s * 10**9)
    assert isinstance(answered, event)
    assert bool(job.outcome.found) == (event is Finished)


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


def test_what_the_device_says_is_nobodys_fault(repository):
    lane = Lane(WeatherCpu(words=["device"]), repository)
    variant, stages = lane.serve("paint")
    _, event = lane.run(stages, [job_of(variant, jpeg("red"))])
    lane.threads.close()
    assert (event.reason, event.tasks) == ("the sky fell", ())


def test_what_nobody_foresaw_is_handed_on_as_it_came(repository):
    lane = Lane(WeatherCpu(words=["bug"]), repository)
    variant, stages = lane.serve("paint")
    _, event = lane.run(stages, [job_of(variant, jpeg("red"))])
    lane.threads.close()
    assert isinstance(event, ZeroDivisionError)


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


def test_what_cannot_be_loaded_is_said_with_its_file(lane, repository):
    stage = repository.stages(repository.variant("paint", "fp32"), "cpu")[0]
    path = repository.blob_path(stage.graph)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    fresh = Lane(Cpu("cpu1"), Repository(repository.root))
    fresh.threads.load(stage)
    event = fresh.next()
    fresh.threads.close()
    assert isinstance(event, LoadFailed)
    assert str(path) in event.reason


@pytest.mark.parametrize("content", [b"no onnx at all", b""])
def test_a_whole_blob_that_is_no_graph_is_a_failed_load(lane, repository, content):
    stage = replace(repository.stages(repository.variant("tint", "fp32"), "cpu")[0], graph=repository.add_blob(content))
    lane.threads.load(stage)
    assert isinstance(lane.next(), LoadFailed)


def test_a_head_that_holds_no_arrays_is_a_failed_load_and_leaves_no_engine(lane, repository):
    stage = replace(repository.stages(repository.variant("tint", "fp32"), "cpu")[1], head=repository.add_blob(b"junk"))
    lane.threads.load(stage)
    event = lane.next()
    assert "holds no arrays" in event.reason
    assert not lane.threads.shelf.engines


def test_two_heads_on_one_graph_load_it_once_and_close_it_last(repository):
    shelf = EngineCache(Cpu(), repository)
    swapped(repository)
    heads = [repository.stages(repository.variant("paint", name), "cpu")[1] for name in ("fp32", "swapped")]
    for stage in heads:
        shelf.load(stage)
    assert len(shelf.engines) == 1
    assert len(shelf.heads) == 2
    engine = shelf.engines[heads[0].graph]
    shelf.evict(heads[0].digest)
    assert shelf.engines == {heads[1].graph: engine}
    assert [*shelf.heads] == [heads[1].head]
    shelf.evict(heads[1].digest)
    assert (shelf.engines, shelf.heads, shelf.stages) == ({}, {}, {})


def test_evicting_is_told(lane):
    _, stages = lane.serve("paint")
    lane.threads.evict(stages[0].digest)
    assert lane.next() == Evicted("cpu0", stages[0].digest)


def test_a_lane_that_never_started_can_be_closed(repository):
    LaneThreads(TightCpu(room=1), repository, lambda event: None, 1).close()


def test_stopping_an_idle_lane_is_nothing(lane):
    lane.threads.stop(7)
    variant, stages = lane.serve("paint")
    assert isinstance(lane.run(stages, [job_of(variant, jpeg("red"))])[1], Finished)


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
    batches = watched(lane.threads.shelf.engines[stages[0].graph])
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
    batches = watched(lane.threads.shelf.engines[bare.graph])
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


# ---- a device that is lost


class Losable(Cpu):
    """Runs and loads are lost while it is away."""

    def __init__(self):
        super().__init__("far")
        self.away = threading.Event()
        self.asked = 0

    def check(self):
        if self.away.is_set():
            raise DeviceLost("unplugged", self.back)

    def back(self):
        self.asked += 1
        return not self.away.is_set()

    def load(self, graph, batches=(1,)):
        self.check()
        engine = super().load(graph, batches)
        run = engine.run
        engine.run = lambda inputs: (self.check(), run(inputs))[1]
        return engine


@pytest.fixture
def far(repository, monkeypatch):
    monkeypatch.setattr("edge.runtime.lane.BACK_S", 0.001)
    made = Lane(Losable(), repository)
    yield made
    made.threads.close()


def test_a_lost_device_takes_its_lane_down_and_comes_back_empty(far):
    variant, stages = far.serve("paint")
    device = far.threads.device
    device.away.set()
    _, event = far.run(stages, [job_of(variant, jpeg("red"))])
    assert event == LaneDown("far", "unplugged")
    assert isinstance(far.next(), Stopped), "late news, which the core ignores"
    device.away.clear()
    assert far.next() == LaneUp("far", "cpu", device.memory_bytes)
    assert far.threads.shelf.stages == {}
    variant, stages = far.serve("paint")
    assert isinstance(far.run(stages, [job_of(variant, jpeg("red"))])[1], Finished)


def test_it_goes_down_once_whoever_finds_out(far, repository):
    variant, stages = far.serve("paint")
    device = far.threads.device
    device.away.set()
    far.threads.load(repository.stages(repository.variant("tint", "fp32"), "cpu")[0])
    assert far.next() == LaneDown("far", "unplugged")
    assert isinstance(far.next(), LoadFailed)
    assert isinstance(far.run(stages, [job_of(variant, jpeg("red"))])[1], Stopped)
    device.away.clear()
    assert isinstance(far.next(), LaneUp)


def test_an_order_from_before_is_given_back_and_nothing_breaks(far):
    """It was on its way when the lane came back empty."""
    variant, stages = far.serve("paint")
    device = far.threads.device
    device.away.set()
    far.run(stages, [job_of(variant, jpeg("red"))])
    far.next()
    device.away.clear()
    assert isinstance(far.next(), LaneUp)
    assert isinstance(far.run(stages, [job_of(variant, jpeg("red"))])[1], Stopped)
    far.threads.evict(stages[0].digest)
    assert far.next() == Evicted("far", stages[0].digest)


def test_a_load_from_before_is_not_done_in_the_new_life(far, repository):
    """The core does not know of it any more: it would take memory that nobody counts."""
    variant, (first, second) = far.serve("paint")
    device = far.threads.device
    device.away.set()
    assert isinstance(far.run((first, second), [job_of(variant, jpeg("red"))])[1], LaneDown)
    assert isinstance(far.next(), Stopped)
    far.threads.load(first)
    device.away.clear()
    assert isinstance(far.next(), LaneUp)
    far.threads.load(second)
    assert far.next() == Loaded("far", second.digest)
    assert [*far.threads.shelf.stages] == [second.digest]


def test_a_lane_can_be_closed_while_its_device_is_away(repository):
    lane = Lane(Losable(), repository)
    lane.threads.device.away.set()
    lane.threads.load(repository.stages(repository.variant("tint", "fp32"), "cpu")[0])
    assert isinstance(lane.next(), LaneDown)
    lane.threads.close()
    assert not any(thread.is_alive() for thread in lane.threads.threads)


def test_what_a_device_says_of_itself_goes_up_with_its_lane():
    device = Cpu("near")
    assert lane_up(device) == LaneUp("near", "cpu", device.memory_bytes)
    device.traits = Traits(remote=True, price_per_request=0.5)
    assert lane_up(device).traits == device.traits
