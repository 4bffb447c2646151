"""Ensembles: who is asked, what the members' words come to, and how sure it is when some do not come."""

from collections.abc import Sequence

import pytest

from edge.answers.combining import EnsembleVerdict, Vote
from edge.answers.ensemble import Ensemble
from edge.core.events import Request
from edge.core.state import OpenRequest

MEMBERS = ("m/a", "m/b", "m/c", "m/d")
REQUEST = Request(1, "m", "gate", 0, 100)


def votes(*labels: str, score: float = 1.0) -> list[Vote]:
    return [Vote(member, label, score) for member, label in zip(MEMBERS, labels, strict=False) if label]


@pytest.mark.parametrize(
    ("labels", "label", "confidence"),
    [
        (("cat",) * 4, "cat", 1.0),
        (("cat", "dog", "cat", "cat"), "cat", 0.75),
        (("cat", "dog", "dog"), "dog", 0.5),  # one did not come
        (("cat", "", "", ""), "cat", 0.25),  # three did not
        (("cat", "dog", "cow", "fox"), "cat", 0.25),  # all alike: the first
    ],
)
def test_the_majority_says_what_it_is_and_those_who_are_missing_make_it_less_sure(
    labels: Sequence[str], label: str, confidence: float
) -> None:
    assert Ensemble(members=MEMBERS).combine(REQUEST, votes(*labels)) == EnsembleVerdict(label, confidence)


def test_of_equal_numbers_the_surer_ones_are_believed() -> None:
    said = [Vote("m/a", "cat", 0.6), Vote("m/b", "cat", 0.6), Vote("m/c", "dog", 0.7), Vote("m/d", "dog", 0.6)]
    assert Ensemble(members=MEMBERS).combine(REQUEST, said).label == "dog"


@pytest.mark.parametrize(("sure_min", "label"), [(0.5, "cat"), (0.51, "thing")])
def test_without_agreement_the_app_has_a_word_for_it(sure_min: float, label: str) -> None:
    answer = Ensemble(members=MEMBERS, sure_min=sure_min, default="thing")
    assert answer.combine(REQUEST, votes("cat", "cat", "dog", "cow")) == EnsembleVerdict(label, 0.5)


def test_scores_are_averaged_and_whoever_does_not_come_says_what_it_usually_says() -> None:
    answer = Ensemble(members=("m/a", "m/b"), scores=True)
    often = [Vote("m/a", "cat", 0.6, {"cat": 0.6, "dog": 0.4}), Vote("m/b", "dog", 0.9, {"cat": 0.1, "dog": 0.9})]
    assert answer.combine(REQUEST, often) == EnsembleVerdict("dog", 0.5)
    assert answer.combine(REQUEST, often[:1]) == EnsembleVerdict(
        "dog", 0.0
    )  # b's mean speaks for b, but agrees with nobody
    sure = [Vote("m/a", "cat", 1.0, {"cat": 1.0})]
    assert answer.combine(REQUEST, sure) == EnsembleVerdict("cat", 0.5)  # 1.0 + 0.1 against 0.9
    alone = Ensemble(members=("m/a", "m/b"), scores=True)
    assert alone.combine(REQUEST, often[:1]) == EnsembleVerdict("cat", 0.5)  # nothing is known of b


def test_running_means_follow_what_was_said() -> None:
    answer = Ensemble(members=("m/a", "m/b"), scores=True)
    for share in (1.0, 0.0, 0.5):
        answer.combine(REQUEST, [Vote("m/b", "cat", share, {"cat": share, "dog": 1 - share})])
    assert answer.means.means["m/b"] == pytest.approx({"cat": 0.5, "dog": 0.5})


def test_a_vote_without_scores_counts_as_its_own() -> None:
    answer = Ensemble(members=MEMBERS, scores=True)
    assert answer.combine(REQUEST, votes("cat", "dog", "dog", "cow", score=0.5)).label == "dog"


def test_all_members_are_opened_each_under_its_number() -> None:
    openings = Ensemble(members=("cats", "m/a", "m/b")).opened(REQUEST)
    assert [(each.model, each.variant, each.item) for each in openings] == [
        ("cats", "", 0),
        ("m", "a", 1),
        ("m", "b", 2),
    ]
    assert Ensemble(members=("cats", "m/a", "m/b")).models() == ("cats", "m")


def test_whatever_has_come_is_a_partial_answer_in_the_order_of_opening() -> None:
    opened = OpenRequest(REQUEST, tasks=[4, 5, 6], finished=[6, 4])
    assert Ensemble(members=MEMBERS).partial(opened) == [4, 6]
    assert Ensemble(members=MEMBERS).partial(OpenRequest(REQUEST, tasks=[4, 5, 6])) == []
