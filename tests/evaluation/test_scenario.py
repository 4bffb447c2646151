"""What the simulated world can be told of cameras: what a frame finds, how long runs really took, who gives way."""

from dataclasses import dataclass
from random import Random

from edge.answers.cascade import Cascade
from edge.core.events import Request, Task
from edge.core.simulation import SimulatedWorld
from edge.estimators.table import Table
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import MS, Scenario, affine, play
from porting.variant import Stage

SLOW = affine("slow", 10, 0)


def asked(*arrived_ms: float, app: str = "slow", slo_ms: float = 1000) -> tuple[Request, ...]:
    times = [round(at * MS) for at in arrived_ms]
    return tuple(Request(number, app, "gate", at, at + round(slo_ms * MS)) for number, at in enumerate(times, 1))


def played(scenario: Scenario) -> SimulatedWorld:
    return play(scenario, complete(Fifo(batch_max=1)), Table())


def outcomes(world: SimulatedWorld) -> dict[int, str]:
    return {reply.request_id: reply.outcome for _, reply in world.replies}


def test_without_slowdown_a_run_takes_what_the_profile_says():
    world = played(Scenario("one", (SLOW,), asked(100), slowdown=0))
    assert [time for time, _ in world.replies] == [110 * MS]


def test_a_newer_frame_takes_the_place_of_the_oldest_that_waits():
    scenario = Scenario("camera", (SLOW,), asked(100, 101, 102, 103), slowdown=0, waiting_max={"gate": 1})
    assert outcomes(played(scenario)) == {1: "ok", 2: "superseded", 3: "superseded", 4: "ok"}


def test_as_many_frames_wait_as_the_stream_may_have():
    scenario = Scenario("camera", (SLOW,), asked(100, 101, 102, 103), slowdown=0, waiting_max={"gate": 2})
    assert outcomes(played(scenario)) == {1: "ok", 2: "superseded", 3: "ok", 4: "ok"}


def test_a_stream_that_is_not_named_keeps_all_its_frames():
    scenario = Scenario("camera", (SLOW,), asked(100, 101, 102, 103), slowdown=0, waiting_max={"door": 1})
    assert set(outcomes(played(scenario)).values()) == {"ok"}


def test_what_a_frame_finds_may_depend_on_the_frame():
    def detections(task: Task) -> dict[str, int]:
        return {"car": task.request} if task.model == "detector" else {}

    served = (affine("detector", 1, 0), affine("cars", 1, 0))
    answers = {"junction": Cascade("detector", {"car": "cars"})}
    scenario = Scenario("cascade", served, asked(100, 200, app="junction"), answers, detections=detections)
    tasks = {reply.request_id: len(reply.tasks) for _, reply in played(scenario).replies}
    assert tasks == {1: 2, 2: 3}


@dataclass
class Measured(Table):
    """Draws its durations, and never the floor that it promises."""

    def draw_ns(self, stage: Stage, batch: int, lane: str, random: Random) -> int:
        return self.duration_ns(stage, batch, lane) + random.choice((1, 2)) * MS


def test_a_profile_may_bring_the_noise_that_was_measured():
    world = played(Scenario("one", (SLOW,), asked(100, 200, 300, 400, 500, 600), profile=Measured()))
    assert {time % (100 * MS) for time, _ in world.replies} == {11 * MS, 12 * MS}
