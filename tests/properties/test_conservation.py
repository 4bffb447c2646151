"""Whatever happens, every request is answered exactly once and nothing is left behind."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.answers.cascade import Cascade
from edge.answers.ensemble import Ensemble
from edge.core.events import (
    Action,
    Arrived,
    Closing,
    Event,
    Evicted,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Load,
    Loaded,
    LoadFailed,
    Plan,
    Planned,
    Reply,
    Request,
    Run,
    Served,
    StepResult,
    Stopped,
    Withdrawn,
    Woke,
)  # fmt: skip
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.rolling import Rolling
from edge.observers.state_check import StateCheck
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from edge.policies.wrappers.straggler_mitigation import StragglerMitigation
from evaluation.synthetic import ALL_FAULTS, ANSWERS, Simulation, models, promotions, simulate
from porting.variant import Stage

MEMORY = (20_000, 6_000, 4_000, 3_000, 1_500)  # everything fits; less and less does; the teacher never does


def check(simulation: Simulation) -> None:
    answers = Counter(reply.request_id for reply in simulation.replies)
    assert answers == {request.id: 1 for request in simulation.requests}
    state = simulation.state
    assert [state.requests, state.queues, state.background, state.works, state.flights] == [{}] * 5
    assert all(lane.running is None for lane in state.lanes.values())
    assert all(lane.residency.used_bytes <= lane.residency.limit_bytes for lane in state.lanes.values())


@pytest.mark.parametrize("fifty", range(0, 500, 50))
def test_500_seeds_with_faults(fifty: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(fifty, fifty + 50):
        inner = Fifo() if seed % 3 == 0 else EarliestDeadlineFirst()
        memory_bytes, lanes, fps = MEMORY[seed % 5], 1 + seed % 2, 10.0 * (1 + seed % 4)
        simulation = simulate(
            seed, 28, ALL_FAULTS, complete(inner), memory_bytes=memory_bytes, lanes=lanes, fps=fps,
            observers=(StateCheck(),),
        )  # fmt: skip
        check(simulation)
        outcomes.update(reply.outcome for reply in simulation.replies)
    assert set(outcomes) >= {"ok", "failed", "superseded", "refused"}, "the faults were injected"
    assert outcomes["ok"] > sum(outcomes.values()) / 2


@pytest.mark.parametrize("seed", range(5))
def test_without_faults_all_is_well(seed: int) -> None:
    simulation = simulate(seed, 80, observers=(StateCheck(),))
    check(simulation)
    assert {reply.outcome for reply in simulation.replies} == {"ok"}
    assert simulation.state.ignored == 0


@pytest.mark.parametrize("seed", range(3))
def test_overload_is_shed_and_the_rest_is_served(seed: int) -> None:
    simulation = simulate(seed, 400, fps=60, observers=(StateCheck(),))
    check(simulation)
    outcomes = Counter(reply.outcome for reply in simulation.replies)
    assert set(outcomes) == {"ok", "late"}
    assert outcomes["ok"] > 0.2 * len(simulation.replies)


def test_same_seed_same_digest_and_another_seed_another() -> None:
    digests = [simulate(seed, 60, ALL_FAULTS).digest for seed in (7, 7, 8)]
    assert digests[0] == digests[1] != digests[2]


# ---- any order of events that a world can produce -------------------------------------------------------------------

CHOICES = st.lists(st.tuples(st.integers(0, 13), st.integers(0, 2**16), st.integers(0, 40)), max_size=60)
POINTERS = [*models(), *promotions()]
APPS = ("junction", "vehicles", "teacher", "train/vehicles", "nobody", "panel")
PANEL = Ensemble(members=("vehicles", "persons", "vehicles/head1"))


class Chaos:
    """A world whose every turn is somebody else's choice. Knows only what a real world would."""

    def __init__(self) -> None:
        answers = {**ANSWERS, "empty": Cascade("detector"), "panel": PANEL}
        self.scheduler = Scheduler(State(Rolling()), complete(StragglerMitigation(EarliestDeadlineFirst())), answers)
        self.now = 0
        self.ids = count(1)
        self.arrived: list[int] = []
        self.replies: Counter[int] = Counter()
        self.works: dict[int, Run] = {}
        self.past: list[int] = []
        self.loads: list[Load] = []
        self.lanes: set[str] = set()
        self.stages: dict[str, Stage] = {}

    def tell(self, event: Event, later_ns: int = 0) -> None:
        self.now += later_ns
        for action in self.scheduler.handle(event, self.now):
            self.hear(action)
        self.scheduler.state.check()

    def hear(self, action: Action) -> None:
        match action:
            case Run():
                self.works[action.work_id] = action
            case Reply():
                self.replies[action.request_id] += 1
            case Load():
                self.loads.append(action)

    def turn(self, kind: int, number: int, later_ms: int) -> None:
        event = self.event(kind, number)
        if event is not None:
            self.tell(event, later_ms * 1_000_000)

    def event(self, kind: int, number: int) -> Event | None:
        match kind:
            case 0 | 1 | 2:
                return self.request(number)
            case 3 | 4 | 5 if self.works:
                run = self.pick_work(number)
                return Finished(run.work_id, {task.id: self.result(run, number) for task in run.tasks})
            case 6 if self.works:
                run = self.pick_work(number)
                return Failed(run.work_id, "chaos", (run.tasks[0].id,) if number % 2 else ())
            case 7 if self.works:
                return Stopped(self.pick_work(number).work_id)
            case 8 if self.loads:
                load = self.loads.pop(number % len(self.loads))
                return LoadFailed(load.lane, load.stage, "chaos") if number % 3 == 0 else Loaded(load.lane, load.stage)
            case 9:
                return self.lane(("a", "b")[number % 2], (1_500, 4_000, 20_000)[number % 3])
            case 10:
                return self.pointer(number)
            case 11 if self.arrived:
                return Withdrawn(self.arrived[number % len(self.arrived)])
            case 12:
                return self.oddity(number)
            case 13:
                return Planned(Plan(background=number % 5 / 4))
        return Woke()

    def request(self, number: int) -> Arrived:
        deadline_ns = None if number % 3 == 0 else self.now + number % 100 * 1_000_000
        request = Request(next(self.ids), APPS[number % len(APPS)], "camera", self.now, deadline_ns, number % 2)
        self.arrived.append(request.id)
        return Arrived(request)

    def pick_work(self, number: int) -> Run:
        work_id = sorted(self.works)[number % len(self.works)]
        self.past.append(work_id)
        return self.works.pop(work_id)

    def result(self, run: Run, number: int) -> StepResult:
        at_end = run.tasks[0].at + len(run.stages) >= len(run.tasks[0].chain)
        return StepResult(at_end or number % 7 == 0, None, 1.0, {"vehicle": number % 4, "person": number % 3})

    def lane(self, name: str, memory_bytes: int) -> Event:
        if name not in self.lanes:
            self.lanes.add(name)
            return LaneUp(name, "cpu", memory_bytes)
        self.lanes.discard(name)
        for run in [run for run in self.works.values() if run.lane == name]:
            self.past.append(self.works.pop(run.work_id).work_id)
        self.loads = [load for load in self.loads if load.lane != name]
        return LaneDown(name, "chaos")

    def pointer(self, number: int) -> Served:
        pointer = POINTERS[number % len(POINTERS)]
        self.stages.update((stage.digest, stage) for stage in pointer.stages)
        return pointer

    def oddity(self, number: int) -> Event:
        """Late news of works that are over, and memory lost on the way."""
        if self.past and number % 2:
            return Finished(self.past[number % len(self.past)], {})
        if self.lanes and self.stages:
            return Evicted(sorted(self.lanes)[0], sorted(self.stages)[number % len(self.stages)])
        return Woke()

    def end(self) -> None:
        self.tell(Closing())
        while self.works:
            run = self.pick_work(0)
            self.tell(Finished(run.work_id, {task.id: self.result(run, 1) for task in run.tasks}))


@given(CHOICES)
@settings(max_examples=150, deadline=None)
def test_any_order_of_events(choices: list[tuple[int, int, int]]) -> None:
    chaos = Chaos()
    chaos.tell(LaneUp("a", "cpu", 20_000))
    chaos.lanes.add("a")
    for pointer in models():
        chaos.tell(pointer)
    for choice in choices:
        chaos.turn(*choice)
    chaos.end()
    assert chaos.replies == dict.fromkeys(chaos.arrived, 1)
    state = chaos.scheduler.state
    left = [state.requests, state.queues, state.background, state.works, state.flights]
    assert left == [{}] * 5
    for lane in state.lanes.values():
        held = {blob: size for at in lane.residency.resident.values() for blob, size in at.blobs.items()}
        loading = state.stages[lane.loading].blobs if lane.loading else {}
        assert lane.residency.used_bytes == sum((held | dict(loading)).values()) <= lane.residency.limit_bytes
