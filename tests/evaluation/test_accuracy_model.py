"""Simulated correctness: the stated accuracy, mistakes that come together, a drift, and feedback that comes later."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from edge.answers.ensemble import Ensemble
from edge.answers.single import Single
from edge.core.events import Combined, Event, Feedback, LaneUp, Request, Served
from edge.core.interfaces import Moment
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.accuracy_model import Examiner, Truth
from evaluation.scenario import Scenario, play
from evaluation.synthetic import MS, served, stage

COUNT = 4000
REQUESTS = [Request(number, "m", "gate", number * MS, (number + 100) * MS) for number in range(1, COUNT + 1)]
HALF_NS = COUNT // 2 * MS


def share(right: Callable[[Request], bool], requests: list[Request] = REQUESTS) -> float:
    return sum(map(right, requests)) / len(requests)


def right(truth: Truth, member: str) -> Callable[[Request], bool]:
    return lambda request: truth.vote(request, member).label == truth.label(request)


@pytest.mark.parametrize("accuracy", [0.05, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("alike", [0.0, 0.7, 1.0])
def test_the_share_of_right_answers_is_the_accuracy(accuracy: float, alike: float) -> None:
    truth = Truth(3, ((0, {"m/a": accuracy}),), alike=alike)
    assert share(right(truth, "m/a")) == pytest.approx(accuracy, abs=0.025)


def test_skills_that_differ_by_label_leave_the_accuracy_about_what_it_was() -> None:
    labels = tuple(map(str, range(100)))
    truth = Truth(3, ((0, {"m/a": 0.8}),), labels, skew=1.0)
    assert share(right(truth, "m/a")) == pytest.approx(0.8, abs=0.05)
    by_label = [share(right(truth, "m/a"), [r for r in REQUESTS if truth.label(r) == label]) for label in labels]
    assert min(by_label) < 0.5 < 0.97 < max(by_label)


def test_mistakes_come_together_the_more_the_members_are_alike() -> None:
    both = []
    for alike in (0.0, 0.5, 0.9):
        truth = Truth(3, ((0, {"m/a": 0.8, "m/b": 0.8}),), alike=alike)
        a, b = right(truth, "m/a"), right(truth, "m/b")
        both.append(share(lambda request, a=a, b=b: not a(request) and not b(request)))  # type: ignore[misc]
    assert both[0] == pytest.approx(0.04, abs=0.015)
    assert all(more > less + 0.02 for less, more in pairwise(both))


def test_it_is_a_function_of_seed_request_and_member() -> None:
    truth, again, other = (Truth(seed, ((0, {"m/a": 0.5}),)) for seed in (3, 3, 4))
    said = [truth.vote(request, "m/a") for request in REQUESTS[:200]]
    assert [again.vote(request, "m/a") for request in reversed(REQUESTS[:200])][::-1] == said
    assert [other.vote(request, "m/a") for request in REQUESTS[:200]] != said


def test_some_wrong_answers_are_what_the_frame_looks_like_to_everybody() -> None:
    for trap, alike in ((1.0, 1.0), (0.0, 1 / 9)):
        truth = Truth(3, ((0, {"m/a": 0.0, "m/b": 0.0}),), trap=trap)
        same = share(lambda request, t=truth: t.vote(request, "m/a").label == t.vote(request, "m/b").label)  # type: ignore[misc]
        assert same == pytest.approx(alike, abs=0.02)


def test_the_surer_a_member_is_the_more_often_it_is_right() -> None:
    truth = Truth(3, ((0, {"m/a": 0.7}),))
    sure = [request for request in REQUESTS if truth.vote(request, "m/a").score > 0.75]
    assert share(right(truth, "m/a"), sure) > 0.7 + 0.07


def test_a_drift_changes_who_is_right_from_then_on() -> None:
    truth = Truth(3, ((0, {"m/a": 0.9}), (HALF_NS, {"m/a": 0.4})))
    assert share(right(truth, "m/a"), REQUESTS[: COUNT // 2]) == pytest.approx(0.9, abs=0.03)
    assert share(right(truth, "m/a"), REQUESTS[COUNT // 2 :]) == pytest.approx(0.4, abs=0.03)


# ---- in a run ------------------------------------------------------------------------------------------------------


class Seen:
    def __init__(self) -> None:
        self.events: list[tuple[int, Event]] = []

    def observe(self, moment: Moment) -> tuple[()]:
        if isinstance(moment.event, Feedback | Combined):
            self.events.append((moment.now, moment.event))
        return ()


def examined(answer: Ensemble | Single, **options: float) -> tuple[Examiner, list[tuple[int, Event]]]:
    small, large = served("m", stage("s", 2), name="a"), served("m", stage("l", 4), name="b")
    offered = Served(small.variant, (*small.stages, *large.stages), (large.variant,))
    requests = tuple(Request(n, "m", "gate", n * 20 * MS, (n * 20 + 15) * MS) for n in range(1, 201))
    scenario = Scenario("s", (offered,), requests, {"m": answer}, (LaneUp("sim0", "simulated", 1 << 30),))
    truth = Truth(3, ((0, {"m/a": 0.7, "m/b": 0.9}),))
    examiner, seen = Examiner(truth, scenario.answers, **options), Seen()
    play(scenario, complete(EarliestDeadlineFirst()), Table(), (examiner, seen))
    return examiner, seen.events


def test_every_answer_is_marked_and_fed_back_after_the_delay() -> None:
    examiner, events = examined(Single("m"), delay_ms=30)
    assert len(examiner.marks) == 200
    assert len(events) > 195  # nobody hears of the last ones: the run is over
    for mark, (now, event) in zip(examiner.marks, events, strict=False):
        assert isinstance(event, Feedback)
        assert (event.request_id, event.losses) == (mark.request.id, {"m/a": float(not mark.right)})
        assert mark.members == ("m/a",)
        assert mark.good == mark.right
        assert now >= mark.replied_ns + 30 * MS


def test_an_ensemble_is_combined_and_each_member_has_its_loss() -> None:
    examiner, events = examined(Ensemble(model="m"))
    combined = {event.request_id: event for _, event in events if isinstance(event, Combined)}
    losses = {event.request_id: event.losses for _, event in events if isinstance(event, Feedback)}
    assert len(combined) == len(examiner.marks) == 200
    assert len(losses) > 190
    for mark in examiner.marks[: len(losses)]:
        said = combined[mark.request.id]
        assert set(said.votes) == set(losses[mark.request.id]) == set(mark.members) == {"m/a", "m/b"}
        label = examiner.truth.label(mark.request)
        assert losses[mark.request.id] == {member: float(vote != label) for member, vote in said.votes.items()}
        assert (said.label == label, said.confidence) == (mark.right, mark.confidence)


def test_only_the_stated_share_is_labelled() -> None:
    _, events = examined(Single("m"), labelled=0.25)
    assert 25 < len(events) < 75
