"""Windows and jobs by hand, and time that is won back with a quicker variant."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import Failed, Finished, Woke
from edge.core.interfaces import Moment
from edge.policies.disbatcher import DisBatcher
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import MS
from tests.edge.policies.variants_builder import variants

Build = Callable[..., Any]


def box_of(core: Build, *served: Any, policy: DisBatcher | None = None) -> Any:
    return core(*(served or (affine("eye", 2, 4),)), policy=complete(policy or DisBatcher()))


def test_frames_of_one_window_are_one_job(core: Build) -> None:
    """An SLO of 100 ms: windows of 50. Frames at 5, 20 and 49 ms are the job of 50 ms; the one at 51 is the next."""
    box = box_of(core)
    for at_ms in (5, 20, 49):
        box.ask("eye", at_ms=at_ms)
    assert box.running() is None
    assert box.woken_at_ms() == 50
    box.wake()
    assert [task.id for task in box.running().tasks] == [1, 2, 3]
    box.ask("eye", at_ms=51)
    box.finish(at_ms=60)
    assert box.running() is None
    assert box.woken_at_ms() == 100


def test_jobs_are_not_mixed_where_they_queue_up(core: Build) -> None:
    box = box_of(core, affine("eye", 2, 4), affine("busy", 0, 90))
    box.ask("busy", slo_ms=20)
    box.wake()
    for at_ms in (15, 16, 51, 52, 53):
        box.ask("eye", at_ms=at_ms)
    box.finish(at_ms=100)
    assert [task.id for task in box.running().tasks] == [2, 3]
    box.finish(at_ms=108)
    assert [task.id for task in box.running().tasks] == [4, 5, 6]


def test_the_job_that_is_due_first_goes_first(core: Build) -> None:
    """The job of `slow` comes at 100 ms and is due at 200; the one of `eye` comes then, too, and is due at 150."""
    box = box_of(core, affine("eye", 2, 4), affine("slow", 2, 4))
    box.ask("slow", slo_ms=200, at_ms=10)
    box.ask("eye", slo_ms=100, at_ms=60)
    box.wake()
    assert [task.model for task in box.running().tasks] == ["eye"]


@pytest.mark.parametrize(("slo_ms", "batch"), [(40, 8), (30, 5), (24, 4), (16, 2)])
def test_a_job_that_its_head_cannot_wait_for_is_cut(core: Build, slo_ms: float, batch: int) -> None:
    """Eight frames take 20 ms, five 14, four 12, two 8; once their window is over they have half their SLO left."""
    box = box_of(core, affine("eye", 2, 4, 8))
    for _ in range(8):
        box.ask("eye", slo_ms=slo_ms)
    box.wake()
    assert len(box.running().tasks) == batch


def test_what_failed_goes_alone(core: Build) -> None:
    box = box_of(core)
    for _ in range(2):
        box.ask("eye")
    box.wake()
    box.do(Failed(box.running().work_id, "weather"))
    assert len(box.running().tasks) == 1


# ---- adaptation ----------------------------------------------------------------------------------------------------

EYE = variants("eye", 8, exact=(0, 20, 0.9), middle=(0, 14, 0.8), quick=(0, 5, 0.7))


def job(box: Any, policy: DisBatcher, took_ms: float) -> str:
    """One frame in a window of its own, which takes this long: the variant that it ran."""
    box.ask("eye", slo_ms=200, at_ms=box.now_ms)
    policy.observe(Moment(0, Woke(), box.wake(), box.state))
    run = box.running()
    box.finish(at_ms=box.now_ms + took_ms)
    policy.observe(Moment(0, Finished(run.work_id, {}), (), box.state))
    return run.variant or "exact"


def test_time_that_was_lost_is_won_back(core: Build) -> None:
    policy = DisBatcher()
    box = box_of(core, EYE, policy=policy)
    assert job(box, policy, 20) == "exact"
    assert job(box, policy, 25) == "exact"  # 5 ms longer than estimated
    assert policy._overruns == {"eye": 5 * MS}
    assert job(box, policy, 14) == "middle"  # wins 6 back
    assert policy._overruns == {"eye": 0}
    assert job(box, policy, 60) == "exact"
    assert job(box, policy, 5) == "quick"  # nothing wins 40 back: as much as can be
    assert policy._overruns == {"eye": 25 * MS}
    assert job(box, policy, 5) == "quick"
    assert job(box, policy, 5) == "quick"
    assert policy._overruns == {"eye": 0}
    assert job(box, policy, 20) == "exact"


@pytest.mark.parametrize("share", [0, 0.51])
def test_a_window_leaves_another_one_to_run_in(share: float) -> None:
    with pytest.raises(ValueError, match="second window"):
        DisBatcher(share=share)
