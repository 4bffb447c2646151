"""Cocktail: the rule by which members come and go, the weights of votes, and what it sees without labels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from edge.answers.cocktail import Cocktail, excess
from edge.answers.combining import Vote
from edge.core.events import Combined, Event, Feedback, Reply, Request, Served
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.estimators.table import Table
from evaluation.synthetic import MS, stage
from porting.variant import Variant

ACCURACIES = {"a": 0.70, "b": 0.75, "c": 0.80, "d": 0.85, "e": 0.90}


@pytest.mark.parametrize(
    ("majorities", "members", "gone"),
    [
        ({5: 10}, 5, 2),  # five of five agree, three decide
        ({4: 10, 5: 9}, 5, 1),
        ({3: 10, 5: 9}, 5, 0),
        ({5: 5, 4: 5}, 5, 1),  # two modes: the careful one
        ({3: 7}, 3, 1),
        ({2: 7}, 2, 0),  # ceil(0.51 * 2) is both of them
        ({1: 7}, 1, 0),
        ({10: 1}, 10, 4),
        ({100: 1}, 100, 49),  # 51 exactly: no error of floats makes it 52
        ({}, 5, 0),
    ],
)
def test_the_members_beyond_the_majority_that_decides(majorities: Mapping[int, int], members: int, gone: int) -> None:
    assert excess(majorities, members) == gone


Build = Callable[..., Any]


@pytest.fixture
def scene(core: Build) -> Build:
    """A box with the five variants, all loaded; the answer has seen them."""

    def build(answer: Cocktail, ms: Mapping[str, float] | None = None) -> Any:
        stages = {name: stage(name, (ms or {}).get(name, 2.0)) for name in ACCURACIES}
        variants = [Variant("m", name, (stages[name].digest,), accuracy=each) for name, each in ACCURACIES.items()]
        event = Served(variants[0], tuple(stages.values()), tuple(variants[1:]))
        box = core(event)
        tell(answer, event, state=box.state)
        return box

    return build


def tell(answer: Cocktail, event: Event, *actions: Reply, state: State | None = None) -> None:
    assert [*answer.observe(Moment(0, event, actions, state or State(Table())))] == []


def ask(number: int, slo_ms: float = 100) -> Request:
    return Request(number, "m", "gate", 0, round(slo_ms * MS))


def names(answer: Cocktail) -> str:
    return "".join(member.removeprefix("m/") for member in answer.active)


def answered(answer: Cocktail, numbers: range, saying: Mapping[str, str], truth: str | None) -> None:
    """Every request: members say what `saying` says (else the truth), then a label comes, if there is one."""
    for number in numbers:
        asked = [f"{opening.model}/{opening.variant}" for opening in answer.opened(ask(number))]
        votes = [Vote(member, saying.get(member.removeprefix("m/"), truth or "cat")) for member in asked]
        verdict = answer.combine(ask(number), votes)
        said = {vote.member: vote.label for vote in votes}
        if truth is not None:
            tell(answer, Combined(number, verdict.label, verdict.confidence, said))
            tell(answer, Feedback(number, {member: float(label != truth) for member, label in said.items()}))
        else:
            tell(answer, Combined(number, verdict.label, verdict.confidence, said))


def test_it_begins_with_all_that_are_quick_enough(scene: Build) -> None:
    answer = Cocktail(model="m")
    scene(answer, {"e": 60.0, "d": 30.0})
    assert names(answer) == "abcde"
    assert [opening.variant for opening in answer.opened(ask(1, slo_ms=50))] == ["a", "b", "c", "d"]
    assert [opening.variant for opening in answer.opened(ask(2, slo_ms=10))] == ["a", "b", "c"]
    assert [opening.variant for opening in answer.opened(ask(3, slo_ms=1))] == ["a"]  # somebody has to


def test_members_leave_while_it_is_accurate_the_least_correct_first(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50)
    scene(answer)
    answered(answer, range(51), {"d": "dog"}, "cat")  # the last label of the 50 comes after the look
    assert names(answer) == "abce"  # four of five agree: one beyond the three that decide, and d was never right
    answered(answer, range(51, 101), {}, "cat")
    assert names(answer) == "bce"  # four of four agree, three decide


def test_equally_correct_members_leave_in_the_order_of_their_profiles(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50)
    scene(answer)
    answered(answer, range(51), {}, "cat")
    assert names(answer) == "cde"
    answered(answer, range(51, 101), {}, "cat")
    assert names(answer) == "de"
    answered(answer, range(101, 301), {}, "cat")
    assert names(answer) == "de"  # two cannot be a smaller majority


def test_members_come_back_when_it_is_not_accurate_enough_the_best_first(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50)
    scene(answer)
    answered(answer, range(101), {}, "cat")
    assert names(answer) == "de"
    answered(answer, range(101, 151), {"d": "cow", "e": "cow"}, "cat")
    assert names(answer) == "cde"
    answered(answer, range(151, 201), {"d": "dog", "e": "cow"}, "cat")
    assert answer.combine(ask(999), [Vote("m/c", "cat"), Vote("m/d", "cow"), Vote("m/e", "cow")]).label == "cat"
    assert names(answer) == "cde"  # one whose word is worth something outweighs two: accurate again


def test_between_the_margins_nothing_changes(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50, target=0.99)
    scene(answer)
    answered(answer, range(201), {}, "cat")  # 1.0 is less than 0.99 + 0.02
    assert names(answer) == "abcde"


def test_without_labels_it_goes_by_agreement(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50)
    scene(answer)
    answered(answer, range(50), {}, None)
    assert names(answer) == "cde"
    assert answer.agreement == 1.0
    answered(answer, range(50, 100), {"c": "cow", "e": "dog"}, None)
    assert answer.agreement == pytest.approx(1 / 3)  # a sign of drift that needs nobody to label anything
    assert names(answer) == "bcde"


def test_a_vote_counts_as_its_member_is_right_about_that_label(scene: Build) -> None:
    answer = Cocktail(model="m", interval=10_000, prior=10)
    scene(answer)
    cat, dog = Vote("m/a", "cat"), Vote("m/a", "dog")
    assert answer.weight(ask(0), cat) == pytest.approx(0.70)
    answered(answer, range(1, 11), {"a": "cat"}, "dog")
    answered(answer, range(11, 31), {}, "cat")
    assert answer.weight(ask(0), cat) == pytest.approx((20 + 7) / (30 + 10))
    assert answer.weight(ask(0), dog) == pytest.approx(0.70)
    assert answer.weight(ask(0), Vote("m/stranger", "cat")) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("labels", "label"),
    [("cat cat dog dog cow", "dog"), ("cat dog cow", "cow"), ("cat cat cat dog dog", "cat")],
)
def test_the_weights_decide_where_numbers_do_not(scene: Build, labels: str, label: str) -> None:
    answer = Cocktail(model="m")
    scene(answer)
    said: Sequence[Vote] = [Vote(f"m/{name}", word) for name, word in zip(ACCURACIES, labels.split(), strict=False)]
    assert answer.combine(ask(1), said).label == label


def test_confidence_is_of_those_who_were_asked_then(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50)
    scene(answer)
    answer.opened(ask(999))
    answered(answer, range(51), {}, "cat")
    assert names(answer) == "cde"
    assert answer.combine(ask(999), [Vote("m/a", "cat")]).confidence == pytest.approx(1 / 5)
    answer.opened(ask(1000))
    assert answer.combine(ask(1000), [Vote("m/c", "cat")]).confidence == pytest.approx(1 / 3)


def test_other_apps_and_drops_are_none_of_its_business(scene: Build) -> None:
    answer = Cocktail(model="m", interval=1)
    scene(answer)
    tell(answer, Combined(7, "cat", 1.0, {"m/a": "cat"}))
    tell(answer, Feedback(7, {"m/a": 1.0}))
    assert names(answer) == "abcde"
    answer.opened(ask(8))
    tell(answer, Feedback(7, {}), Reply(8, "late"))
    assert not answer.of_request


def test_a_variant_taken_out_of_service_leaves_and_a_new_one_joins(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50)
    box = scene(answer)
    answered(answer, range(51), {}, "cat")
    stages = [stage(name, 2.0) for name in ("e", "new")]
    event = Served(
        Variant("m", "e", (stages[0].digest,), accuracy=0.9),
        tuple(stages),
        (Variant("m", "new", (stages[1].digest,), accuracy=0.95),),
    )
    box.do(event)
    tell(answer, event, state=box.state)
    assert names(answer) == "enew"


def partly(answer: Cocktail, numbers: range, late: str) -> None:
    """Members named in `late` never come in time; the others say what is to be seen."""
    for number in numbers:
        asked = [f"{opening.model}/{opening.variant}" for opening in answer.opened(ask(number))]
        came = [member for member in asked if member.removeprefix("m/") not in late]
        verdict = answer.combine(ask(number), [Vote(member, "cat") for member in came])
        tell(answer, Combined(number, verdict.label, verdict.confidence, dict.fromkeys(came, "cat")))


def test_whoever_is_mostly_late_leaves_and_nobody_comes_while_others_are_late(scene: Build) -> None:
    answer = Cocktail(model="m", interval=50, target=0.99)
    scene(answer)
    partly(answer, range(50), late="de")
    assert names(answer) == "abc"
    partly(answer, range(50, 70), late="c")
    partly(answer, range(70, 100), late="")
    assert names(answer) == "abc"  # agreement is below the target, but there is no time for another one
    partly(answer, range(100, 150), late="")
    assert names(answer) == "abc"  # within the margins


def test_the_last_one_stays_however_late(scene: Build) -> None:
    answer = Cocktail(model="m", interval=10)
    scene(answer, {"b": 1.0})
    for number in range(10):
        answer.opened(ask(number))
        tell(answer, Combined(number, "cat", 0.0, {"m/stranger": "cat"}))
    assert names(answer) == "b"  # all were late: the quickest


def test_members_that_are_gone_leave_nothing_behind(scene: Build, core: Build) -> None:
    answer = Cocktail(model="m")
    scene(answer)
    answered(answer, range(10), {}, "cat")
    assert set(answer.right) == set(answer.times) == {(f"m/{name}", "cat") for name in ACCURACIES}
    eye = stage("b", 2.0)
    event = Served(Variant("m", "b", (eye.digest,), accuracy=0.75), (eye,))
    tell(answer, event, state=core(event).state)
    assert set(answer.right) == set(answer.times) == {("m/b", "cat")}
