"""In which ways a task may still be served, whom none of them saves, and who may go together."""

from collections.abc import Callable
from typing import Any

from edge.core.events import NEVER, Reply, Run, Served, Task
from edge.policies.blocks import variant_options
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import MS, stage
from porting.variant import Variant
from tests.edge.policies.blocks.test_feasibility import Idle
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


def ways(box: Any) -> list[variant_options.Offer]:
    queue = next(iter(box.state.queues.values()))
    return variant_options.offers(box.state, queue[0][2], box.state.lanes["cpu0"])


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
    beyond = Task(9, 1, "eye", served.variant.stages, 2, 0, 100 * MS)
    assert [way.variant for way in variant_options.offers(box.state, beyond, box.state.lanes["cpu0"])] == [""]


def test_only_what_no_way_saves_is_given_up(core: Build) -> None:
    box = crowd(core, EYE, 10, 90)
    assert variant_options.shed_ns(box.state) == 8 * MS + 1
    assert variant_options.shed(box.state, 8 * MS) is None
    assert variant_options.shed(box.state, 8 * MS + 1) == Reply(1, "late", (1,))


def test_the_only_task_may_try_until_its_time_is_over(core: Build) -> None:
    box = crowd(core, EYE, 1)
    assert variant_options.shed(box.state, 0) is None
    assert variant_options.shed_ns(box.state) == MS + 1
    assert variant_options.shed(box.state, MS + 1) == Reply(1, "late", (1,))


def test_nobody_to_give_up(core: Build) -> None:
    assert variant_options.shed_ns(crowd(core, EYE).state) > NEVER


def test_who_failed_before_goes_alone_and_the_others_without_it(core: Build) -> None:
    box = crowd(core, EYE, 50, 60, 70)
    queue = next(iter(box.state.queues.values()))
    failed = Task(2, 2, "eye", EYE.variant.stages, 0, 0, 60 * MS, attempts=1)
    mixed = [queue[0], (queue[1][0], 2, failed), queue[2]]
    for way in ways(box):
        assert [task.id for task in variant_options.mates(mixed, way, 8)] == [1, 3]
        assert [task.id for task in variant_options.mates(mixed[1:], way, 8)] == [2]
        assert [task.id for task in variant_options.mates(queue, way, 2)] == [1, 2]


def test_only_those_of_the_model_change_its_variant(core: Build) -> None:
    box = crowd(core, EYE, 50, 60)
    queue = next(iter(box.state.queues.values()))
    other = Task(2, 2, "ear", EYE.variant.stages, 0, 0, 60 * MS)
    shared = [queue[0], (queue[1][0], 2, other)]
    own, quick, _ = ways(box)
    assert [task.id for task in variant_options.mates(shared, own, 8)] == [1, 2]
    assert [task.id for task in variant_options.mates(shared, quick, 8)] == [1]


def test_the_run_that_comes_of_it(core: Build) -> None:
    box = crowd(core, EYE, 50)
    task = next(iter(box.state.queues.values()))[0][2]
    own, quick, _ = ways(box)
    assert variant_options.run(box.state, own, (task,)) == Run(0, "cpu0", EYE.variant.stages, (task,))
    assert variant_options.run(box.state, quick, (task,)) == Run(
        0, "cpu0", EYE.others[0].stages, (task,), variant="quick"
    )
