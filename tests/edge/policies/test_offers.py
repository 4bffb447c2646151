"""In which ways a task may still be served, whom none of them saves, and who may go together."""

from collections.abc import Callable
from typing import Any

from edge.events import NEVER, Reply, Run, Served, Task
from edge.policies import offers
from edge.policies.complete import complete
from edge.workload import MS, stage
from porting.variant import Variant
from tests.edge.policies.test_feasible import Idle
from tests.edge.policies.variants_builder import variants

Build = Callable[..., Any]

EYE = variants("eye", exact=(0, 20, 0.9), quick=(0, 5, 0.7), rough=(0, 2, 0.5))


def exits() -> Served:
    """A backbone of two halves, an exit after each: the deep one is a longer chain on the same first stage."""
    first, second = stage("first", 5), stage("second", 5)
    early, late = stage("early", 1, head="early"), stage("late", 1, head="late")
    deep = Variant("eye", "deep", (first.digest, second.digest, late.digest), accuracy=0.9)
    shallow = Variant("eye", "shallow", (first.digest, early.digest), accuracy=0.6)
    return Served(deep, (first, second, early, late), (shallow,))


def crowd(core: Build, event: Served, *slos: float) -> Any:
    box = core(event, policy=complete(Idle()))
    for slo_ms in slos:
        box.ask("eye", slo_ms=slo_ms)
    return box


def ways(box: Any) -> list[offers.Offer]:
    queue = next(iter(box.state.queues.values()))
    return offers.offers(box.state, queue[0][2], box.state.lanes["cpu0"])


def test_the_most_accurate_way_comes_first(core: Build) -> None:
    found = ways(crowd(core, EYE, 100))
    assert [(way.variant, way.accuracy) for way in found] == [("", 0.9), ("quick", 0.7), ("rough", 0.5)]


def test_what_is_not_loaded_is_no_way(core: Build) -> None:
    box = crowd(core, EYE, 100)
    box.state.lanes["cpu0"].residency.evict(EYE.stages[1].digest)
    assert [way.variant for way in ways(box)] == ["", "rough"]


def test_exits_share_the_way_until_they_part(core: Build) -> None:
    served = exits()
    box = crowd(core, served, 100)
    deep, shallow = ways(box)
    assert (deep.variant, shallow.variant, deep.stage) == ("", "shallow", shallow.stage)
    assert deep.duration_ns(box.state, 1) == 11 * MS
    assert shallow.duration_ns(box.state, 1) == 6 * MS
    beyond = Task(9, (1,), "eye", served.variant.stages, 2, 0, 100 * MS)
    assert [way.variant for way in offers.offers(box.state, beyond, box.state.lanes["cpu0"])] == [""]


def test_only_what_no_way_saves_is_given_up(core: Build) -> None:
    box = crowd(core, EYE, 10, 90)
    assert offers.shed_ns(box.state) == 8 * MS + 1
    assert offers.shed(box.state, 8 * MS) is None
    assert offers.shed(box.state, 8 * MS + 1) == Reply(1, "late", (1,))


def test_the_only_task_may_try_until_its_time_is_over(core: Build) -> None:
    box = crowd(core, EYE, 1)
    assert offers.shed(box.state, 0) is None
    assert offers.shed_ns(box.state) == MS + 1
    assert offers.shed(box.state, MS + 1) == Reply(1, "late", (1,))


def test_nobody_to_give_up(core: Build) -> None:
    assert offers.shed_ns(crowd(core, EYE).state) > NEVER


def test_who_failed_before_goes_alone_and_the_others_without_it(core: Build) -> None:
    box = crowd(core, EYE, 50, 60, 70)
    queue = next(iter(box.state.queues.values()))
    failed = Task(2, (2,), "eye", EYE.variant.stages, 0, 0, 60 * MS, attempts=1)
    mixed = [queue[0], (queue[1][0], 2, failed), queue[2]]
    for way in ways(box):
        assert [task.id for task in offers.mates(mixed, way, 8)] == [1, 3]
        assert [task.id for task in offers.mates(mixed[1:], way, 8)] == [2]
        assert [task.id for task in offers.mates(queue, way, 2)] == [1, 2]


def test_only_those_of_the_model_change_its_variant(core: Build) -> None:
    box = crowd(core, EYE, 50, 60)
    queue = next(iter(box.state.queues.values()))
    other = Task(2, (2,), "ear", EYE.variant.stages, 0, 0, 60 * MS)
    shared = [queue[0], (queue[1][0], 2, other)]
    own, quick, _ = ways(box)
    assert [task.id for task in offers.mates(shared, own, 8)] == [1, 2]
    assert [task.id for task in offers.mates(shared, quick, 8)] == [1]


def test_the_run_that_comes_of_it(core: Build) -> None:
    box = crowd(core, EYE, 50)
    task = next(iter(box.state.queues.values()))[0][2]
    own, quick, _ = ways(box)
    assert offers.run(box.state, own, (task,)) == Run(0, "cpu0", EYE.variant.stages, (task,))
    assert offers.run(box.state, quick, (task,)) == Run(0, "cpu0", EYE.others[0].stages, (task,), variant="quick")
