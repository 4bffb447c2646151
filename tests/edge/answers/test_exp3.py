"""Exp3 and Exp4: what feedback does to the choice, and what the published code got wrong."""

from collections import Counter
from math import exp, log, sqrt

import pytest

from edge.answers.combining import Vote
from edge.answers.exp3 import Exp3, draw
from edge.answers.exp4 import Exp4
from edge.answers.hashing import hash_uniform
from edge.core.events import Event, Feedback, Reply, Request, Served
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.estimators.table import Table
from evaluation.synthetic import served, stage

ARMS = ("m/small", "m/medium", "m/large")


def ask(number: int, stream: str = "gate") -> Request:
    return Request(number, "m", stream, 0, 100)


def tell(answer: Exp3 | Exp4, event: Event, *actions: Reply) -> None:
    assert [*answer.observe(Moment(0, event, actions, State(Table())))] == []


def asked(answer: Exp3, request: Request) -> str:
    (opening,) = answer.opened(request)
    return f"{opening.model}/{opening.variant}"


# ---- Exp3 ----------------------------------------------------------------------------------------------------------


def test_at_first_all_are_asked_alike_and_the_same_request_the_same_way() -> None:
    counts = Counter(asked(Exp3(members=ARMS, seed=3), ask(number)) for number in range(3000))
    assert all(900 < counts[arm] < 1100 for arm in ARMS)
    again = Counter(asked(Exp3(members=ARMS, seed=3), ask(number)) for number in range(3000))
    assert again == counts
    assert asked(Exp3(members=ARMS, seed=4), ask(1)) == draw(dict.fromkeys(ARMS, 1 / 3), hash_uniform(4, "exp3", 1))[0]


def test_a_loss_counts_by_the_chance_at_the_draw_not_by_that_of_today() -> None:
    answer = Exp3(members=ARMS, rate=0.1, share=0.0)
    first, second = asked(answer, ask(1)), asked(answer, ask(2))
    assert answer.drawn[1].chance == answer.drawn[2].chance == pytest.approx(1 / 3)
    tell(answer, Feedback(1, {first: 1.0}))
    tell(answer, Feedback(2, {second: 1.0}))
    losses = Counter(dict.fromkeys(ARMS, 0.0))
    losses[first] += 3
    losses[second] += 3
    whole = sum(exp(-0.1 * losses[arm]) for arm in ARMS)
    assert answer.shares() == pytest.approx({arm: exp(-0.1 * losses[arm]) / whole for arm in ARMS})


def test_a_weight_falls_with_a_loss_and_never_grows() -> None:
    answer = Exp3(members=ARMS, share=0.0)
    for number in range(200):
        arm = asked(answer, ask(number))
        before = answer.trust[""].logs[arm] - max(answer.trust[""].logs[other] for other in ARMS if other != arm)
        tell(answer, Feedback(number, {arm: 1.0}))
        after = answer.trust[""].logs[arm] - max(answer.trust[""].logs[other] for other in ARMS if other != arm)
        assert after < before


def test_only_the_arm_that_was_asked_learns_and_only_once() -> None:
    answer = Exp3(members=ARMS)
    arm = asked(answer, ask(1))
    other = next(name for name in ARMS if name != arm)
    before = answer.shares()
    tell(answer, Feedback(2, {arm: 1.0}))  # another app's request
    tell(answer, Feedback(1, {other: 1.0}))  # the policy took another variant
    assert answer.shares() == before
    arm = asked(answer, ask(3))
    tell(answer, Feedback(3, {arm: 1.0}))
    learnt = answer.shares()
    tell(answer, Feedback(3, {arm: 1.0}))
    assert answer.shares() == learnt != before


@pytest.mark.parametrize("losses", [{"m": 1.0}, {"m/small": 1.0}])
def test_feedback_may_name_the_model_or_the_variant(losses: dict[str, float]) -> None:
    answer = Exp3(members=("m/small", "other"))
    number = next(number for number in range(50) if asked(answer, ask(number)) == "m/small")
    tell(answer, Feedback(number, losses))
    assert answer.shares()["m/small"] < 0.5


def test_a_drop_is_no_loss_unless_it_is_said_to_be_one() -> None:
    for late_loss, changed in ((0.0, False), (1.0, True)):
        answer = Exp3(members=ARMS, late_loss=late_loss)
        for number, outcome in ((1, "late"), (2, "superseded")):
            answer.opened(ask(number))
            before = answer.shares()
            tell(answer, Feedback(99, {}), Reply(number, outcome))  # type: ignore[arg-type]
            assert (answer.shares() != before) == (changed and outcome == "late")
        assert not answer.drawn


def test_each_camera_may_learn_for_itself() -> None:
    answer = Exp3(members=ARMS, per_stream=True)
    opening = asked(answer, ask(1, "north"))
    tell(answer, Feedback(1, {opening: 1.0}))
    assert answer.shares("north")[opening] < 1 / 3
    assert answer.shares("south")[opening] == pytest.approx(1 / 3)


def test_what_it_remembers_is_bounded() -> None:
    answer = Exp3(members=ARMS, per_stream=True, remembered_max=10)
    for number in range(1000):
        answer.opened(ask(number, f"camera-{number}"))
    assert len(answer.drawn) == 10
    assert len(answer.trust) <= 257


def test_without_names_it_takes_what_is_on_offer() -> None:
    small, large = served("m", stage("s", 1), name="small"), served("m", stage("l", 4), name="large")
    answer = Exp3(model="m")
    assert answer.opened(ask(1))[0].variant == ""
    state = State(Table())
    from edge.core.versions import change

    event = Served(small.variant, (*small.stages, *large.stages), (large.variant,))
    change(state, event)
    [*answer.observe(Moment(0, event, (), state))]
    assert list(answer.shares()) == ["m/small", "m/large"]
    change(state, small)
    [*answer.observe(Moment(0, small, (), state))]
    assert list(answer.shares()) == ["m/small"]


@pytest.mark.parametrize(("options", "said"), [({}, "no model to ask"), ({"members": ("a", "a")}, "names one twice")])
def test_what_it_cannot_be_built_with(options: dict[str, tuple[str, ...]], said: str) -> None:
    for kind in (Exp3, Exp4):
        with pytest.raises(ValueError, match=said):
            kind(**options)  # type: ignore[arg-type]


# ---- a world with a drift ------------------------------------------------------------------------------------------


def played(answer: Exp3, chances: list[dict[str, float]]) -> float:
    """Mean loss where arm `a` errs with chance `chances[t][a]` at time t."""
    total = 0.0
    for number, erring in enumerate(chances):
        arm = asked(answer, ask(number))
        loss = float(hash_uniform(7, "errs", number, arm) < erring[arm])
        total += loss
        tell(answer, Feedback(number, {arm: loss}))
    return total / len(chances)


BEFORE, AFTER = dict(zip(ARMS, (0.4, 0.3, 0.1), strict=True)), dict(zip(ARMS, (0.1, 0.3, 0.6), strict=True))


def regret(worlds: list[dict[str, float]], **options: float) -> float:
    """Mean loss beyond that of the best arm of each moment; over three seeds."""
    best = sum(min(world.values()) for world in worlds) / len(worlds)
    return sum(played(Exp3(members=ARMS, seed=seed, **options), worlds) for seed in range(3)) / 3 - best  # type: ignore[arg-type]


def test_its_regret_is_what_theory_says_it_is_at_most() -> None:
    count = 4000
    bound = sqrt(2 * count * len(ARMS) * log(len(ARMS))) / count  # Bubeck and Cesa-Bianchi 2012, theorem 3.1: 0.041
    assert regret([BEFORE] * count, rate=sqrt(2 * log(len(ARMS)) / (count * len(ARMS))), share=0.0) < bound
    assert regret([BEFORE] * count) < bound


def test_after_a_drift_it_finds_the_new_best_one_sooner_than_without_a_share() -> None:
    worlds = [BEFORE] * 8000 + [AFTER] * 2000
    assert regret(worlds) < 0.03 < regret(worlds, share=0.0)


# ---- Exp4 ----------------------------------------------------------------------------------------------------------

VOTES = (Vote("m/small", "cat"), Vote("m/medium", "cat"), Vote("m/large", "dog"))


def test_exp4_asks_everybody_and_at_first_believes_the_majority() -> None:
    answer = Exp4(members=ARMS)
    assert [opening.variant for opening in answer.opened(ask(1))] == ["small", "medium", "large"]
    assert answer.combine(ask(1), VOTES).label == "cat"


def test_exp4_believes_one_that_is_always_right_against_two_that_are_not() -> None:
    answer = Exp4(members=ARMS, rate=0.3)
    for number in range(40):
        answer.opened(ask(number))
        tell(answer, Feedback(number, {"m/small": number % 2, "m/medium": number % 2, "m/large": 0.0}))
    verdict = answer.combine(ask(99), VOTES)
    assert verdict.label == "dog"
    assert verdict.confidence == pytest.approx(1 / 3)  # members that agree, whatever they weigh


def test_exp4_learns_of_its_own_requests_and_of_whoever_has_a_loss() -> None:
    answer = Exp4(members=ARMS, share=0.0)
    tell(answer, Feedback(1, {"m/small": 1.0}))
    assert answer.shares() == pytest.approx(dict.fromkeys(ARMS, 1 / 3))
    answer.opened(ask(1))
    tell(answer, Feedback(1, {"m/small": 1.0, "m/medium": 0.0}))
    shares = answer.shares()
    assert shares["m/small"] < shares["m/large"] < shares["m/medium"]


def test_exp4_knows_members_that_are_models_by_their_variants() -> None:
    answer = Exp4(members=("cats", "dogs"))
    answer.opened(ask(1))
    tell(answer, Feedback(1, {"cats/fp32": 1.0, "dogs/int8": 0.0}))
    assert answer.shares()["cats"] < answer.shares()["dogs"]
    assert answer.combine(ask(1), (Vote("cats/fp32", "cat"), Vote("dogs/int8", "dog"))).label == "dog"
