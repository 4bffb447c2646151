"""Leeway's own policy: which batch it prefers and why, by hand; laws of the search by hypothesis."""

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.events import Arrived, LaneUp, Load, Loaded, Reply, Request, Run, Served, Task
from edge.core.interfaces import Moment, Opening
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.blocks.queue_view import QueueView
from edge.policies.least_harm import LeastHarm
from edge.policies.wrappers.default_stack import complete
from evaluation.presets import edge4
from evaluation.scenario import MS, affine, play
from tests.edge.policies.variants_builder import variants

SIZES = (1, 2, 4, 8)
DURATIONS_NS = [5 * MS, 7 * MS, 11 * MS, 19 * MS]


def line(*due_ms: float, tail_ms: float = 0.0) -> QueueView:
    tasks = [Task(i, i, "m", ("s",), 0, 0, round(due * MS)) for i, due in enumerate(due_ms)]
    queue = [((task.deadline_ns, 0, 0), task.id, task) for task in tasks]
    made = QueueView("s", queue, SIZES, DURATIONS_NS, round(tail_ms * MS))
    made.look(0)
    return made


@pytest.mark.parametrize(
    ("due_ms", "skip", "batch"),
    [
        ((100,) * 5, 0, 4),  # four of five: the stage takes no batch of five
        ((6, 30, 30, 30, 30), 1, 4),  # the head allows one alone; behind it four fit
        ((6, 8, 30), 1, 2),
        ((6,), 0, 1),
    ],
)
def test_the_largest_batch_may_leave_heads_behind(due_ms: tuple[float, ...], skip: int, batch: int) -> None:
    found = line(*due_ms)
    assert found.batch == batch
    assert found.skip == skip


def test_where_nobody_makes_it_there_is_no_batch() -> None:
    assert line(4, 4).batch == 0


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20).map(sorted), st.integers(0, 30))
def test_no_batch_is_larger(due_ms: list[int], now_ms: int) -> None:
    """Against trying every place: the bisection finds the largest batch, and what it finds is in time."""
    found = line(*due_ms)
    skip, batch = found.largest(now_ms * MS)
    tried = []
    for at, due in enumerate(due_ms):
        fits = bisect_right(DURATIONS_NS, (due - now_ms) * MS)
        waiting = bisect_right(SIZES, len(due_ms) - at)
        tried.append(SIZES[min(fits, waiting) - 1] if fits else 0)
    assert batch == max(tried) == tried[skip]
    assert found.lost(now_ms * MS) == max(0, found.batch - batch)


def test_the_rest_of_the_chain_needs_its_time() -> None:
    assert line(20, 20).batch == 2
    assert line(20, 20, tail_ms=14).batch == 1


class Box:
    """One lane, loads done at once; every moment is seen by the policy."""

    def __init__(self, policy: LeastHarm, *models: Served) -> None:
        self.policy, self.now, self.ids = policy, 0, 0
        self.scheduler = Scheduler(State(Table()), complete(policy), {})
        for event in (LaneUp("a", "cpu", 1 << 40), *models):
            self.do(event)

    def do(self, event: object) -> list[object]:
        actions = self.scheduler.handle(event, self.now)  # type: ignore[arg-type]
        self.policy.observe(Moment(self.now, event, actions, self.scheduler.state))  # type: ignore[arg-type]
        for action in [*actions]:
            if isinstance(action, Load):
                actions += self.do(Loaded(action.lane, action.stage))
        return actions  # type: ignore[return-value]

    def crowd(self, **waiting: tuple[int, float]) -> None:
        """model=(how many, SLO in ms): they come while the lane is down, so that nothing runs yet."""
        state = self.scheduler.state
        lane = state.lanes["a"]
        lane.running = Run(0, "a", (), ())
        for model, (count, slo_ms) in waiting.items():
            for _ in range(count):
                self.ids += 1
                self.do(Arrived(Request(self.ids, model, "camera", self.now, self.now + round(slo_ms * MS))))
        lane.running = None

    def choice(self) -> tuple[str, int]:
        action = self.policy.decide(self.scheduler.state, self.now)
        assert isinstance(action, Run), action
        return action.tasks[0].model, len(action.tasks)


QUICK, SLOW = affine("quick", 1, 2), affine("slow", 10, 10)


def test_with_time_for_both_the_urgent_one_goes_first() -> None:
    box = Box(LeastHarm(), QUICK, SLOW)
    box.crowd(quick=(1, 500), slow=(1, 25))
    assert box.choice() == ("slow", 1)


def test_what_brings_most_in_time_goes_first_where_both_are_urgent() -> None:
    box = Box(LeastHarm(), QUICK, SLOW)
    box.crowd(quick=(8, 12), slow=(1, 22))
    assert box.choice() == ("quick", 8)


def test_harm_to_the_others_holds_a_long_batch_back() -> None:
    """The slow batch brings more; while it ran, two quick ones would be lost. The other way round nothing is lost."""
    models = (affine("quick", 1, 2), affine("slow", 1, 8))
    careful, careless = (Box(LeastHarm(harm=harm), *models) for harm in (0.5, 0.0))
    for box in (careful, careless):
        box.crowd(quick=(2, 14.0), slow=(4, 16.0))
    assert careful.choice() == ("quick", 2)
    assert careless.choice() == ("slow", 4)


@pytest.mark.parametrize(("share", "chosen"), [(0.95, ("long", 8)), (0.3, ("short", 5))])
def test_harm_to_an_app_that_fell_behind_weighs_more(share: float, chosen: tuple[str, int]) -> None:
    """The waiting one could begin within 14.5 ms: too late after the long batch of 16, not after the short of 10.5."""
    models = (affine("long", 0.5, 12), affine("short", 0.5, 8), affine("waiting", 0.5, 40))
    box = Box(LeastHarm(), *models)
    box.policy.attainment.shares.update(waiting=share)
    box.policy.attainment.overall = 0.9
    box.crowd(long=(8, 25.0), short=(5, 25.0), waiting=(1, 55.0))
    assert box.choice() == chosen


@pytest.mark.parametrize(
    ("share", "weight"),
    [
        (1.0, 1.0),
        (0.5, 1.0),  # the floor: 0.7071 ** (1 / 0.5)
        (0.25, 3.0),  # half of the floor is missing, so half of the push
        (0.0, 5.0),  # all of it: 1 + push, wherever the floor is
    ],
)
def test_the_weight_rises_to_one_and_the_push_as_a_share_falls_from_the_floor_to_nothing(
    share: float, weight: float
) -> None:
    box = Box(LeastHarm(fairness=0.5, push=4.0), QUICK)
    box.crowd(quick=(1, 100.0))
    box.policy.attainment.shares["quick"], box.policy.attainment.overall = share, 0.5**0.5
    task = Task(1, box.ids, "quick", (), 0, 0, None)
    assert box.policy._weight(box.scheduler.state, task) == pytest.approx(weight)
    assert LeastHarm(fairness=0)._weight(box.scheduler.state, task) == 1


def test_an_app_that_fell_behind_weighs_more() -> None:
    """Two models alike; one was given up often of late."""
    box = Box(LeastHarm(), affine("a", 2, 3), affine("b", 2, 3))
    box.policy.attainment.shares.update(a=0.95, b=0.40)
    box.policy.attainment.overall = 0.9
    box.crowd(a=(6, 40), b=(4, 40))
    assert box.choice() == ("b", 4)
    assert Box(LeastHarm(fairness=0.0), affine("a", 2, 3), affine("b", 2, 3)).policy.fairness == 0.0


def test_without_fairness_the_larger_batch_wins() -> None:
    box = Box(LeastHarm(fairness=0.0), affine("a", 2, 3), affine("b", 2, 3))
    box.policy.attainment.shares.update(a=0.95, b=0.40)
    box.crowd(a=(6, 40), b=(4, 40))
    assert box.choice() == ("a", 6)


def test_who_cannot_make_it_is_told() -> None:
    box = Box(LeastHarm(), SLOW)
    box.crowd(slow=(3, 19))
    action = box.policy.decide(box.scheduler.state, box.now)
    assert isinstance(action, Reply)
    assert action.outcome == "late"


@pytest.mark.parametrize("options", [{"fairness": 1.5}, {"fairness": -0.1}, {"patience": 0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="fairness is 0 to 1"):
        LeastHarm(**options)


@pytest.mark.parametrize("arrivals", ["poisson", "gamma4"])
def test_fairness_lifts_the_worst_served(arrivals: str) -> None:
    """On four models at 1.3 times what the box can do: the bands are wide, the order is what counts."""
    shares = {fairness: served(fairness, arrivals) for fairness in (0.0, 0.25)}
    overall, worst = zip(*(shares[fairness] for fairness in (0.0, 0.25)), strict=True)
    assert worst[1] > worst[0] + 0.02
    assert overall[0] > overall[1] > overall[0] - 0.08


def served(fairness: float, arrivals: str) -> tuple[float, float]:
    """Shares in time: of all requests, of the model that fared worst."""
    scenario = edge4(1.3, arrivals, seed=3, duration_s=5)
    world = play(scenario, complete(LeastHarm(fairness=fairness)), Table(margin=1.06))
    asked = {request.id: request for request in world.requests}
    good: dict[str, int] = dict.fromkeys(("mob", "res", "yolo", "bert"), 0)
    offered = dict(good)
    for request in world.requests:
        offered[request.app] += 1
    for at, reply in world.replies:
        deadline_ns = asked[reply.request_id].deadline_ns
        assert deadline_ns is not None
        good[asked[reply.request_id].app] += reply.outcome == "ok" and at <= deadline_ns
    return sum(good.values()) / len(asked), min(good[app] / offered[app] for app in offered)


# ---- variants --------------------------------------------------------------------------------------------------------

SIZES_OF_ONE = variants("sized", small=(1, 2, 0.6), large=(4, 6, 0.8))


def variant_chosen(**waiting: tuple[int, float]) -> tuple[str, str, int]:
    box = Box(LeastHarm(), SIZES_OF_ONE, QUICK)
    box.crowd(**waiting)
    action = box.policy.decide(box.scheduler.state, box.now)
    assert isinstance(action, Run), action
    return action.tasks[0].model, action.variant, len(action.tasks)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ({"sized": (1, 100.0)}, ("sized", "large", 1)),  # nobody minds
        ({"sized": (1, 9.0)}, ("sized", "", 1)),  # the large one takes 10 ms; the small one serves
        ({"sized": (3, 17.0)}, ("sized", "", 3)),  # three of the large one take 18 ms, so they would be too late
        ({"sized": (3, 18.5)}, ("sized", "large", 3)),
        ({"sized": (1, 11.0), "quick": (1, 12.0)}, ("sized", "", 1)),  # 10 ms would leave quick too little for its 3
        ({"sized": (1, 11.0), "quick": (1, 14.0)}, ("sized", "large", 1)),
    ],
)
def test_as_accurate_as_nobody_minds(waiting: dict[str, tuple[int, float]], expected: tuple[str, str, int]) -> None:
    assert variant_chosen(**waiting) == expected


def test_who_waits_behind_the_batch_is_asked_as_well() -> None:
    """Batches of at most 8: nine wait, and the ninth is due when a large batch would just have ended."""
    assert variant_chosen(sized=(9, 39.0)) == ("sized", "", 8)
    assert variant_chosen(sized=(9, 100.0)) == ("sized", "large", 8)


class Named:
    """Asks for one variant by its name."""

    def models(self) -> tuple[str, ...]:
        return ("sized",)

    def opened(self, request: Request) -> tuple[Opening, ...]:
        return (Opening("sized", variant="small"),)


def test_who_asks_for_a_variant_by_name_gets_it() -> None:
    box = Box(LeastHarm(), SIZES_OF_ONE)
    box.scheduler.requests.answers = {"named": Named()}  # type: ignore[dict-item]
    box.crowd(named=(1, 100.0))
    named = box.policy.decide(box.scheduler.state, box.now)
    assert isinstance(named, Run)
    assert (named.variant, len(named.tasks)) == ("", 1)
    box.crowd(sized=(1, 200.0))
    together = box.policy.decide(box.scheduler.state, box.now)
    assert isinstance(together, Run)
    assert (together.variant, len(together.tasks)) == ("", 2)
