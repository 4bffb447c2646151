"""What every estimator keeps: positive whole nanoseconds, no answer that changes by asking, no mixing of stages."""

import copy
import inspect
import pickle
from collections.abc import Iterable

import pytest

from edge.core.state import Estimator
from evaluation.synthetic import stage
from porting.variant import Stage

PROFILED = stage("graph", 4)
UNPROFILED = Stage("onnx", "unknown", batches=(1, 2))


@pytest.mark.parametrize("known", [PROFILED, UNPROFILED], ids=["profiled", "unprofiled"])
@pytest.mark.parametrize("batch", [1, 2, 3, 8, 100])
def test_positive_whole_nanoseconds(estimator_class: type, known: Stage, batch: int) -> None:
    estimator: Estimator = estimator_class()
    before = estimator.duration_ns(known, batch, "cpu0")
    estimator.learn(known, batch, "cpu0", 0)  # a clock too coarse
    for took_ns in (1, 10**12, 5):
        estimator.learn(known, batch, "cpu0", took_ns)
    for value in (before, estimator.duration_ns(known, batch, "cpu0")):
        assert isinstance(value, int)
        assert value > 0


def test_asking_changes_nothing(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    for took_ns in range(100, 200):
        estimator.learn(PROFILED, 2, "cpu0", took_ns)
    before = copy.deepcopy(estimator)
    first = [estimator.duration_ns(PROFILED, batch, "cpu0") for batch in (1, 2, 4, 8)]
    assert [estimator.duration_ns(PROFILED, batch, "cpu0") for batch in (1, 2, 4, 8)] == first
    assert estimator == before


def test_more_is_never_quicker_by_profile(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    durations = [estimator.duration_ns(PROFILED, batch, "cpu0") for batch in range(1, 20)]
    assert durations == sorted(durations)


def test_what_is_learnt_of_one_stage_says_nothing_of_another(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    other = stage("other", 7)
    before = estimator.duration_ns(other, 1, "cpu0")
    for _ in range(100):
        estimator.learn(PROFILED, 1, "cpu0", 123)
    assert estimator.duration_ns(other, 1, "cpu0") == before


def test_lanes_do_not_mix(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    before = estimator.duration_ns(PROFILED, 2, "gpu0")
    taught(estimator, 3.0)
    assert estimator.duration_ns(PROFILED, 2, "gpu0") == before


def taught(estimator: Estimator, slowness: float, times: int = 30) -> None:
    """Each accepted batch of PROFILED took `slowness` times its profile, give or take 2 %."""
    for turn in range(times):
        for batch, profiled_ns in PROFILED.durations_ns.items():
            estimator.learn(PROFILED, batch, "cpu0", round(profiled_ns * slowness * (0.98 + turn % 5 / 100)))


def estimates(estimator: Estimator, batches: Iterable[int] = PROFILED.batches) -> list[int]:
    return [estimator.duration_ns(PROFILED, batch, "cpu0") for batch in batches]


@pytest.mark.parametrize("slowness", [0.5, 1.5, 4.0])
def test_it_learns_or_stays_as_it_is(estimator_class: type, slowness: float) -> None:
    estimator: Estimator = estimator_class()
    before = estimates(estimator)
    taught(estimator, slowness)
    took_ns = [slowness * profiled_ns for profiled_ns in PROFILED.durations_ns.values()]
    after = estimates(estimator)
    assert after == before or all(
        0.97 * took <= found <= 1.25 * took for took, found in zip(took_ns, after, strict=True)
    )


@pytest.mark.parametrize("slowness", [0.5, 1.5])
def test_more_is_never_quicker_where_it_was_not(estimator_class: type, slowness: float) -> None:
    estimator: Estimator = estimator_class()
    taught(estimator, slowness)
    assert estimates(estimator) == sorted(estimates(estimator))


def test_a_margin_is_put_on_top(estimator_class: type) -> None:
    if "margin" not in inspect.signature(estimator_class).parameters:
        pytest.skip("it is around another estimator, which has one")
    plain, careful = estimator_class(margin=1.0), estimator_class(margin=1.5)
    for _ in range(2):  # before and after it has learnt
        for found, more in zip(estimates(plain), estimates(careful), strict=True):
            assert more == pytest.approx(1.5 * found, abs=2)
        taught(plain, 1.2)
        taught(careful, 1.2)


def test_the_same_runs_teach_the_same(estimator_class: type) -> None:
    one, other = estimator_class(), estimator_class()
    for each in (one, other):
        taught(each, 1.3)
    assert one == other
    assert estimates(one, range(1, 20)) == estimates(other, range(1, 20))


def test_runs_do_not_pile_up(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    taught(estimator, 1.0, times=300)
    size = len(pickle.dumps(estimator))
    taught(estimator, 1.0, times=600)
    assert len(pickle.dumps(estimator)) < size * 1.1


def test_graphs_that_come_and_go_do_not_pile_up(estimator_class: type) -> None:
    estimator: Estimator = estimator_class()
    sizes = []
    for thousand in range(1, 10):
        for number in range(1000):
            graph = Stage("onnx", f"g{thousand}-{number}", durations_ns={1: 100})
            estimator.learn(graph, 1, "cpu0", 100)
            estimator.duration_ns(graph, 1, "cpu0")
        sizes.append(len(pickle.dumps(estimator)))
    assert sizes[-1] < sizes[4] * 1.1
