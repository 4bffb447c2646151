"""The predicted end of a newcomer by hand; who is refused; and a scale that rises when works take longer."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.core.events import Finished, Plan, Task, Woke
from edge.core.interfaces import Moment
from edge.policies.first_come import FirstCome
from edge.policies.wrappers.admission_control import AdmissionControl
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import affine
from evaluation.synthetic import MS

Build = Callable[..., Any]


def box_of(
    core: Build, *served: Any, lanes: int = 1, policy: AdmissionControl | None = None
) -> tuple[Any, AdmissionControl]:
    """Requests are known, and not looked at again, once they have been asked."""
    policy = policy or AdmissionControl(FirstCome())
    return core(*served, policy=complete(policy), lanes={f"cpu{n}": 10**6 for n in range(lanes)}), policy


def last(box: Any) -> Task:
    """Of the only queue."""
    (queue,) = box.state.queues.values()
    return queue[-1][2]


def asked(box: Any, policy: AdmissionControl, app: str, slo_ms: float) -> int:
    number = box.ask(app, slo_ms=slo_ms)
    policy.newcomers.known.add(number)
    return number


@pytest.mark.parametrize(("slo_ms", "admitted"), [(43.9, 3), (44, 4), (54, 5), (13.9, 0), (14, 1)])
def test_who_would_be_late_by_what_waits_is_refused(core: Build, slo_ms: float, admitted: int) -> None:
    """10 ms each, one at a time: the first runs until 10, the second until 20, the fourth until 40; and 4 ms on top."""
    box, policy = box_of(core, affine("eye", 10, 0, 1))
    outcomes = [box.outcome(asked(box, policy, "eye", slo_ms)) for _ in range(6)]
    assert outcomes == [None] * admitted + ["refused"] * (6 - admitted)


def test_it_is_told_why(core: Build) -> None:
    box, policy = box_of(core, affine("eye", 10, 0, 1))
    asked(box, policy, "eye", 5)
    assert box.replies[1].detail == "what waits already would make it late"


def test_who_is_due_first_waits_only_for_what_runs(core: Build) -> None:
    """Its own queue goes by deadline."""
    box, policy = box_of(core, affine("eye", 10, 0, 1))
    for _ in range(3):
        asked(box, policy, "eye", 200)
    assert box.outcome(asked(box, policy, "eye", 23.9)) == "refused"
    assert box.outcome(asked(box, policy, "eye", 24)) is None


def test_what_waits_is_counted_in_batches(core: Build) -> None:
    """b + 5 ms. In half the SLO of 44 ms runs a batch of 17. Of twenty 17 take 22 ms and three take 8."""
    box, policy = box_of(core, affine("busy", 0, 10), affine("eye", 1, 5))
    asked(box, policy, "busy", 100)
    for _ in range(20):
        policy.newcomers.known.add(box.ask("eye", slo_ms=44))
    assert box.outcome(21) is None
    assert policy.predicted_ns(box.state, last(box), 0) == (10 + 22 + 8 + 4) * MS
    assert box.outcome(asked(box, policy, "eye", 44)) == "refused"  # the last four would take 9


def test_two_lanes_share_it(core: Build) -> None:
    box, policy = box_of(core, affine("eye", 10, 0, 1), lanes=2)
    for _ in range(4):
        asked(box, policy, "eye", 200)
    assert policy.predicted_ns(box.state, last(box), 4 * MS) == (10 + 20 // 2 + 4) * MS


def test_other_models_on_its_lane_go_before_it(core: Build) -> None:
    box, policy = box_of(core, affine("eye", 10, 0, 1), affine("ear", 30, 0, 1))
    for _ in range(3):
        asked(box, policy, "ear", 500)
    number = asked(box, policy, "eye", 500)
    task = next(iter(box.state.requests[number].waiting.values()))
    assert policy.predicted_ns(box.state, task, 0) == (30 + 60 + 10 + 4) * MS
    box.state.plan = Plan(placement={"cpu0": ("ear",)})
    assert policy.predicted_ns(box.state, task, 0) == (30 + 60 + 10 + 4) * MS  # a plan without it binds nobody


def test_background_work_and_models_that_are_not_loaded_are_let_in(core: Build) -> None:
    box, policy = box_of(core, affine("eye", 10, 0, 1))
    for _ in range(3):
        asked(box, policy, "eye", 200)
    assert box.outcome(asked(box, policy, "eye", None)) is None  # type: ignore[arg-type]
    box.state.lanes["cpu0"].residency.resident.clear()
    assert policy.predicted_ns(box.state, last(box), 7) == 7


@pytest.mark.parametrize(("took_ms", "scale"), [([10], 1.0), ([12], 1.0), ([12.1], 1.03), ([13] * 5, 1.08)])
def test_the_scale_rises_with_works_that_take_longer(core: Build, took_ms: list[float], scale: float) -> None:
    box, policy = box_of(core, affine("eye", 10, 0, 1))
    for took in took_ms:
        box.ask("eye")
        policy.observe(Moment(0, Woke(), (box.running(),), box.state))
        run = box.running()
        box.finish(at_ms=box.now_ms + took)
        policy.observe(Moment(0, Finished(run.work_id, {}), (), box.state))
    assert policy._scale == pytest.approx(scale)
