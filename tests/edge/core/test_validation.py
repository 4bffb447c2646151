"""What a policy may propose of variants, wakes and evictions: each limit from both sides."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge.core.events import Evict, Load, Request, Run, Task, WakeAt
from edge.core.state import LOADS_MAX, OpenRequest, State
from edge.core.validation import check_evict, check_load, check_run, check_wake
from evaluation.synthetic import served, stage
from porting.variant import Variant
from tests.edge.conftest import Core

BODY, HEAD, QUICK = stage("body", 4), stage("head", 1, head="h"), stage("quick", 1)
LONG = served("m", BODY, HEAD)
SHORT = Variant("m", "short", (BODY.digest, QUICK.digest))
SERVED = replace(LONG, stages=(BODY, HEAD, QUICK), others=(SHORT,))


@pytest.fixture
def box(core: Callable[..., Core]) -> Core:
    return core(SERVED)


def waiting(state: State, at: int = 0, fixed: bool = False, chain: tuple[str, ...] = LONG.variant.stages) -> Task:
    """A task that waits for stage `at`, as far as the checks look."""
    task = Task(7, 7, "m", chain, at, 0, 10**9, fixed=fixed)
    state.requests[7] = OpenRequest(Request(7, "m", "gate", 0, 10**9), waiting={7: task})
    return task


def run(task: Task, *stages: str, variant: str = "") -> Run:
    return Run(0, "cpu0", stages, (task,), variant=variant)


def test_a_task_may_go_over_to_another_variant_before_the_fork(box: Core) -> None:
    for at, ahead in ((0, SHORT.stages), (1, SHORT.stages[1:])):
        check_run(box.state, run(waiting(box.state, at), *ahead, variant="short"), "policy")


@pytest.mark.parametrize(
    ("task", "stages", "variant", "message"),
    [
        ({}, SHORT.stages, "", "is not what follows"),
        ({}, LONG.variant.stages, "short", "is not what follows"),
        ({"fixed": True}, SHORT.stages, "short", "by the name of its variant"),
        ({}, SHORT.stages, "shorter", "has no variant shorter"),
        ({"at": 1, "chain": (QUICK.digest, HEAD.digest)}, (QUICK.digest,), "short", "past the fork"),
    ],
)
def test_what_no_task_may_do(box: Core, task: dict, stages: tuple[str, ...], variant: str, message: str) -> None:
    with pytest.raises(AssertionError, match=f"policy: .*{message}"):
        check_run(box.state, run(waiting(box.state, **task), *stages, variant=variant), "policy")


@pytest.mark.parametrize(("at", "fits"), [(10, False), (11, True), (49, True), (50, False)])
def test_a_wake_lies_ahead_and_before_the_next_one(box: Core, at: int, fits: bool) -> None:
    box.state.now, box.state.wake_ns = 10, 50
    if fits:
        check_wake(box.state, WakeAt(at), "policy")
        return
    with pytest.raises(AssertionError, match="of no use"):
        check_wake(box.state, WakeAt(at), "policy")


def test_what_runs_is_not_evicted_and_what_does_not_run_may_be(box: Core) -> None:
    box.ask("m")
    with pytest.raises(AssertionError, match="is running on cpu0"):
        check_evict(box.state, Evict("cpu0", BODY.digest), "policy")
    check_evict(box.state, Evict("cpu0", QUICK.digest), "policy")


def test_what_failed_too_often_is_not_loaded_again(box: Core) -> None:
    lane = box.state.lanes["cpu0"]
    lane.residency.evict(QUICK.digest)
    lane.failures[QUICK.digest] = LOADS_MAX - 1
    check_load(box.state, Load("cpu0", QUICK.digest), "policy")
    lane.failures[QUICK.digest] = LOADS_MAX
    with pytest.raises(AssertionError, match="cannot be loaded"):
        check_load(box.state, Load("cpu0", QUICK.digest), "policy")
