"""A lane at work on a real device: what is loaded, what is given back, and a device that is lost."""

import threading
from dataclasses import replace
from time import monotonic_ns

import pytest

from devices.cpu import Cpu
from devices.interface import DeviceLost
from devices.traits import Traits
from edge.core.events import Evicted, Finished, LaneDown, LaneUp, Loaded, LoadFailed, Stopped
from edge.runtime.engine_cache import EngineCache
from edge.runtime.lane import LaneThreads, lane_up
from porting.repository.repository import Repository
from tests.edge.daemon_builder import TightCpu, WeatherCpu, jpeg, swapped
from tests.edge.runtime.lane_by_hand import Lane, job_of


@pytest.mark.parametrize(("window_s", "event"), [(-1, Stopped), (60, Finished)])
def test_an_order_that_is_heard_too_late_is_given_back(lane, window_s, event):
    variant, stages = lane.serve("paint")
    job = job_of(variant, jpeg("red"))
    _, answered = lane.run(stages, [job], latest_ns=monotonic_ns() + window_s * 10**9)
    assert isinstance(answered, event)
    assert bool(job.outcome.found) == (event is Finished)


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
    assert not lane.threads.engine_cache.engines


def test_two_heads_on_one_graph_load_it_once_and_close_it_last(repository):
    engine_cache = EngineCache(Cpu(), repository)
    swapped(repository)
    heads = [repository.stages(repository.variant("paint", name), "cpu")[1] for name in ("fp32", "swapped")]
    for stage in heads:
        engine_cache.load(stage)
    assert len(engine_cache.engines) == 1
    assert len(engine_cache.heads) == 2
    engine = engine_cache.engines[heads[0].graph]
    engine_cache.evict(heads[0].digest)
    assert engine_cache.engines == {heads[1].graph: engine}
    assert [*engine_cache.heads] == [heads[1].head]
    engine_cache.evict(heads[1].digest)
    assert (engine_cache.engines, engine_cache.heads, engine_cache.stages) == ({}, {}, {})


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
    assert far.threads.engine_cache.stages == {}
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
    assert [*far.threads.engine_cache.stages] == [second.digest]


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
