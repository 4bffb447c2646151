"""What the default policy orders: chains, lanes of different speed, tasks that failed, durations that change."""

from dataclasses import dataclass, field

import pytest

from edge.core.events import NEVER, Arrived, Finished, LaneUp, Request, Run, Served, StepResult, Task, WakeAt
from edge.core.interfaces import Opening
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.least_harm import LeastHarm, members
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import MS, affine
from porting.variant import Stage, Variant
from tests.edge.policies.test_least_harm import QUICK, SLOW, Box
from tests.edge.policies.variants_builder import variants

HOUR_NS = 3_600_000 * MS


def chain(model: str, *stages: Stage) -> Served:
    return Served(Variant(model, "fp32", tuple(stage.digest for stage in stages)), stages)


def stage(name: str, ms_per_item: float, ms_per_batch: float, batches: tuple[int, ...] = (1, 2, 3, 4)) -> Stage:
    durations_ns = {batch: round((ms_per_item * batch + ms_per_batch) * MS) for batch in batches}
    return Stage("onnx", name, batches=batches, blobs={name: 1000}, durations_ns=durations_ns)


@dataclass
class Adjustable:
    """An estimator that the test slows down: all stages alike, `ms` by lane."""

    ms: dict[str, int]
    asked: list[tuple[str, str]] = field(default_factory=list)

    def duration_ns(self, stage: Stage, batch: int, lane: str) -> int:
        self.asked.append((stage.digest, lane))
        return self.ms[lane] * MS

    def learn(self, stage: Stage, batch: int, lane: str, took_ns: int) -> None:
        """Nothing: the test says what is true."""


def box_of(estimator: object, lanes: str, *models: Served) -> Box:
    """As `Box`, with an estimator of the test's own and several lanes."""
    box = Box(LeastHarm())
    box.scheduler = Scheduler(State(estimator), complete(box.policy), {})  # type: ignore[arg-type]
    for event in (*(LaneUp(lane, "cpu", 1 << 40) for lane in lanes), *models):
        box.do(event)
    return box


def decided(box: Box) -> Run:
    action = box.policy.decide(box.scheduler.state, box.now)
    assert isinstance(action, Run), action
    return action


# ---- order and time --------------------------------------------------------------------------------------------------


def test_the_order_is_deadline_then_priority_then_age_and_without_a_deadline_last() -> None:
    policy = LeastHarm()
    first = Task(1, 1, "m", (), 0, arrived_ns=5, deadline_ns=10)
    important = Task(2, 2, "m", (), 0, arrived_ns=9, deadline_ns=20, priority=3)
    old = Task(3, 3, "m", (), 0, arrived_ns=1, deadline_ns=20)
    young = Task(4, 4, "m", (), 0, arrived_ns=2, deadline_ns=20)
    whenever = Task(5, 5, "m", (), 0, arrived_ns=0, deadline_ns=None)
    assert sorted([whenever, young, old, important, first], key=policy.order) == [
        first,
        important,
        old,
        young,
        whenever,
    ]
    assert policy.order(whenever)[0] == NEVER


@pytest.mark.parametrize("now", [0, HOUR_NS])
def test_how_long_it_has_run_changes_no_choice(now: int) -> None:
    """Without harm only worth counts; were both worth nothing, the one that is due first would go."""
    box = Box(LeastHarm(harm=0), QUICK, SLOW)
    box.now = now
    box.crowd(quick=(8, 24), slow=(1, 22))
    assert box.choice() == ("quick", 8)


def test_of_equal_choices_the_older_goes_first() -> None:
    for names in ("xy", "yx"):
        box = Box(LeastHarm(), *(affine(name, 2, 3) for name in names))
        box.crowd(x=(2, 40), y=(2, 40))
        assert box.choice() == ("x", 2)


def test_options_at_the_ends_of_their_ranges_are_taken() -> None:
    assert [LeastHarm(fairness=value).fairness for value in (0, 1)] == [0, 1]


# ---- chains ----------------------------------------------------------------------------------------------------------


def chained(second_ms: float, *, waiting: int, slo_ms: float, **options: float) -> Run:
    box = Box(LeastHarm(**options), chain("m", stage("trunk", 1, 2), stage("head", 0, second_ms)))
    box.crowd(m=(waiting, slo_ms))
    return decided(box)


@pytest.mark.parametrize(("slo_ms", "batch"), [(15.5, 3), (14.5, 2), (13.5, 1)])
def test_the_batch_leaves_the_rest_of_the_chain_its_time(slo_ms: float, batch: int) -> None:
    """The trunk takes 2 ms and one per task, the head 10."""
    assert len(chained(10, waiting=3, slo_ms=slo_ms).tasks) == batch


@pytest.mark.parametrize(("boundary_ms", "stages"), [(0.5, 1), (1.5, 2)])
def test_a_stage_shorter_than_the_boundary_is_run_along(boundary_ms: float, stages: int) -> None:
    ordered = chained(1, waiting=2, slo_ms=100, boundary_ms=boundary_ms)
    assert (len(ordered.stages), len(ordered.tasks), ordered.variant) == (stages, 2, "")


def test_the_boundary_is_two_milliseconds_unless_told_otherwise() -> None:
    assert len(chained(1.9, waiting=1, slo_ms=100).stages) == 2
    assert len(chained(2.1, waiting=1, slo_ms=100).stages) == 1


def test_a_batch_has_at_most_the_size_that_was_asked_for() -> None:
    box = Box(LeastHarm(batch_max=2), QUICK)
    box.crowd(quick=(5, 100))
    assert box.choice() == ("quick", 2)


class NamedLarge:
    """Asks for the large variant by its name."""

    def models(self) -> tuple[str, ...]:
        return ("sized",)

    def opened(self, request: Request) -> tuple[Opening, ...]:
        return (Opening("sized", variant="large"),)


def test_who_may_not_change_the_variant_does_not_go_along_with_who_has_to() -> None:
    """The large one takes 10 ms: the first is due in 9 and goes over to the small one; the second is bound."""
    box = Box(LeastHarm(), variants("sized", large=(4, 6, 0.8), small=(1, 2, 0.6)))
    box.scheduler.answers = {"named": NamedLarge()}  # type: ignore[dict-item]
    box.crowd(sized=(1, 9.0), named=(1, 100.0))
    ordered = decided(box)
    assert (ordered.variant, [task.request for task in ordered.tasks]) == ("small", [1])


def test_a_task_outlives_its_model() -> None:
    box = Box(LeastHarm(), QUICK)
    box.crowd(quick=(2, 100))
    box.scheduler.state.models.clear()
    assert box.choice() == ("quick", 2)


# ---- lanes -----------------------------------------------------------------------------------------------------------


def test_each_lane_has_durations_of_its_own() -> None:
    """4 ms on a, 40 on b: what is due in 30 is in time on a only, and b is asked when a is busy."""
    estimator = Adjustable({"a": 4, "b": 40})
    box = box_of(estimator, "ab", chain("m", stage("s", 0, 1)), chain("n", stage("t", 0, 1)))
    box.do(Arrived(Request(1, "m", "camera", 0, 30 * MS)))
    assert box.scheduler.state.lanes["a"].running
    box.do(Arrived(Request(2, "n", "camera", 0, 90 * MS)))
    assert box.scheduler.state.lanes["b"].running
    assert {lane for _, lane in estimator.asked} == {"a", "b"}


def test_harm_is_done_only_where_no_other_lane_is_free() -> None:
    """With one lane the quick ones go first, lest they are lost; with two there is one for each."""
    models = (affine("quick", 1, 2), affine("slow", 1, 8))
    for lanes, chosen in (("a", ("quick", 2)), ("ab", ("slow", 4))):
        box = box_of(Table(), lanes, *models)
        for lane in box.scheduler.state.lanes.values():
            lane.running = Run(0, lane.name, (), ())
        box.crowd(quick=(2, 14.0), slow=(4, 16.0))
        for lane in box.scheduler.state.lanes.values():
            lane.running = None
        assert box.choice() == chosen


def test_what_is_not_loaded_here_does_not_hold_up_what_is() -> None:
    box = Box(LeastHarm(), QUICK, SLOW)
    box.crowd(slow=(1, 100.0), quick=(1, 200.0))
    lane = box.scheduler.state.lanes["a"]
    lane.residency.evict(SLOW.stages[0].digest)
    assert box.choice() == ("quick", 1)


def test_where_nothing_is_loaded_it_wakes_when_the_first_is_lost() -> None:
    """The slow one takes 20 ms alone and is due at 50: after 30 ms it is lost, and told so a nanosecond later."""
    box = Box(LeastHarm(), SLOW)
    box.crowd(slow=(1, 50.0))
    box.scheduler.state.lanes["a"].residency.evict(SLOW.stages[0].digest)
    assert box.policy.decide(box.scheduler.state, box.now) == WakeAt(30 * MS + 1)


def test_what_only_a_busy_lane_could_make_is_begun_on_a_free_one_alone() -> None:
    """By estimate both are lost on b, but not on a, which is busy."""
    box = box_of(Adjustable({"a": 4, "b": 40}), "ab", chain("m", stage("s", 0, 1)))
    lanes = box.scheduler.state.lanes
    lanes["b"].running = Run(0, "b", (), ())
    box.crowd(m=(2, 30.0))
    lanes["a"].running, lanes["b"].running = Run(0, "a", (), ()), None
    ordered = decided(box)
    assert (ordered.lane, [task.request for task in ordered.tasks]) == ("b", [1])


# ---- what is learned -------------------------------------------------------------------------------------------------


def finish(box: Box) -> None:
    running = box.scheduler.state.lanes["a"].running
    assert running is not None
    box.do(Finished(running.work_id, {task.id: StepResult() for task in running.tasks}))


def test_durations_are_asked_for_again_after_a_run_and_only_then() -> None:
    estimator = Adjustable({"a": 5})
    model = chain("m", stage("s", 0, 1))
    box = box_of(estimator, "a", model)
    box.do(Arrived(Request(1, "m", "camera", 0, 100 * MS)))
    finish(box)
    box.ids = 1
    box.crowd(m=(2, 100))
    asked = []
    for _ in range(3):
        estimator.asked.clear()
        decided(box)
        asked.append(len(estimator.asked))
    assert asked[0] == asked[1] + len(model.stages[0].batches)  # the table is made for the first of them
    assert asked[1] == asked[2]


def test_a_slower_lane_is_believed_from_the_next_choice_on() -> None:
    estimator = Adjustable({"a": 5})
    box = box_of(estimator, "a", chain("m", stage("s", 0, 1)), chain("n", stage("t", 0, 1)))
    for number in (1, 2):  # each model once: both tables are made
        box.do(Arrived(Request(number, "mn"[number - 1], "camera", 0, 100 * MS)))
        finish(box)
    estimator.ms["a"] = 30
    box.ids = 2
    box.crowd(m=(2, 100), n=(2, 45))
    assert box.choice() == ("n", 2)  # with 5 ms there would be time for both in any order


def test_a_policy_that_comes_later_has_no_durations_to_forget() -> None:
    box = Box(LeastHarm(), QUICK)
    box.ids = 1
    box.do(Arrived(Request(1, "quick", "camera", 0, 100 * MS)))
    finish(box)
    box.policy = LeastHarm()
    box.crowd(quick=(2, 100))
    assert box.choice() == ("quick", 2)


def test_what_has_failed_before_goes_alone() -> None:
    tasks = [Task(i, i, "m", (), 0, 0, None, attempts=int(i == 2)) for i in range(4)]
    queue = [((0,), task.id, task) for task in tasks]
    assert members(queue, 0, 2) == (tasks[0], tasks[1])
    assert members(queue, 1, 3) == (tasks[1],)
    assert members(queue, 2, 2) == (tasks[2],)
