"""Burst: who is predicted to be late here and not there goes there, within a budget. Times in ms, worked by hand."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.traits import Traits
from edge.core.events import Failed, LaneDown, LaneUp, Loaded, Run, Woke
from edge.core.interfaces import Moment
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import State
from edge.estimators.table import Table
from edge.estimators.with_network import WithNetwork
from edge.observers.trace import Digest
from edge.policies.blocks.batching import nearby
from edge.policies.blocks.overflow import left_behind
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.fifo import Fifo
from edge.policies.least_harm import LeastHarm
from edge.policies.size_or_timeout import SizeOrTimeout
from edge.policies.wrappers.cloud_burst import CloudBurst
from edge.policies.wrappers.default_stack import complete
from edge.systems import system
from evaluation.bounds.goodput import goodput_bound
from evaluation.presets import edge4_remote
from evaluation.requirements import offered
from evaluation.scenario import play
from evaluation.synthetic import ALL_FAULTS, ANSWERS, DETECTIONS, cameras, models, promotions, served, simulate, stage

MS = 1_000_000
TEN = served("ten", stage("ten", 10))  # 10 ms alone, 14 for two, 22 for four
FAR = LaneUp("cloud", "remote", 10**6)


def boxed(core, *served_models, far=(FAR,), inner=None, estimator=None, **options):
    """A box of one lane, and lanes far away that are as quick."""
    policy = CloudBurst(inner or EarliestDeadlineFirst(), **options)
    box = core(policy=complete(policy))
    if estimator is not None:
        box.state.estimator = estimator
    for up in far:
        box.do(up)
    for event in served_models:
        box.do(event)
    box.burst = policy
    return box


def observed(box):
    """What the loop tells a policy after each moment."""
    plain = box.scheduler.handle

    def handle(event, now):
        actions = plain(event, now)
        box.burst.observe(Moment(now, event, actions, box.state))
        return actions

    box.scheduler.handle = handle
    return box


def lanes_of(box):
    return {task.id: run.lane for run in box.runs.values() for task in run.tasks}


# ---- who goes, and who stays


def test_a_lane_is_far_away_because_its_device_says_so(core):
    """Whatever its kind is called: here a near one is called "remote", and the far one is not."""
    far = LaneUp("cloud", "lambda", 10**6, Traits(remote=True))
    near = LaneUp("nas", "remote", 10**6, Traits())
    box = observed(boxed(core, TEN, far=(far, near)))
    assert [lane.name for lane in nearby(box.state)] == ["cpu0", "nas"]
    box.ask("ten", 100)
    box.ask("ten", 100)
    assert box.running("nas") is not None
    assert box.burst.spent == 0
    box.ask("ten", 15)  # would end at 20 on both lanes here
    assert box.running("cloud") is not None
    assert box.burst.spent == 1


def test_who_can_wait_here_stays_and_who_cannot_goes(core):
    """cpu0 is busy until 10. Due at 25: still ends at 20. Due at 15: would end at 20 here, at 10 there."""
    box = boxed(core, TEN)
    first = box.ask("ten", 100)
    patient = box.ask("ten", 25)
    assert box.running("cloud") is None
    urgent = box.ask("ten", 15)
    assert [task.request for task in box.running("cloud").tasks] == [urgent]
    box.finish(at_ms=10)
    box.finish(at_ms=10, lane="cloud")
    assert box.running().tasks[0].request == patient
    box.finish(at_ms=20)
    assert [box.outcome(request) for request in (first, patient, urgent)] == ["ok"] * 3


def test_who_makes_it_nowhere_costs_nothing(core):
    box = boxed(core, TEN)
    box.ask("ten", 100)
    hopeless = box.ask("ten", 9)
    assert box.outcome(hopeless) == "late"
    assert box.burst.spent == 0


def test_the_way_counts(core):
    """10 there and 6 for the way: due at 15 is too late there too."""
    box = boxed(core, TEN, estimator=WithNetwork(Table(), {"cloud": 6}))
    box.ask("ten", 100)
    box.ask("ten", 15)
    assert box.running("cloud") is None
    box.ask("ten", 17)
    assert box.running("cloud") is not None


def test_those_that_go_together_share_a_batch(core):
    """Four at once are 22 there; one after the other they would be late both here and there."""
    box = boxed(core, TEN, far=())
    box.ask("ten", 100)
    for _ in range(4):
        box.ask("ten", 23)  # here: from 10 on, one in time at 20
    box.do(FAR)
    assert len(box.running("cloud").tasks) == 2  # three are behind; a batch of two or four is accepted
    assert lanes_of(box)


def test_a_second_lane_takes_what_the_first_cannot(core):
    far = tuple(LaneUp(name, "remote", 10**6) for name in ("a", "b"))
    box = boxed(core, TEN, far=far, batch_max=1)
    box.ask("ten", 100)
    urgent = [box.ask("ten", 12), box.ask("ten", 12)]
    assert {box.running(lane).tasks[0].request for lane in ("a", "b")} == set(urgent)


def test_what_is_not_loaded_here_goes_there_meanwhile(core):
    box = boxed(core, TEN)
    box.loads_at_once = False
    other = served("other", stage("other", 5))
    box.do(other)
    box.do(Loaded("cloud", other.variant.stages[0]))
    request = box.ask("other", 50)
    assert box.running("cloud").tasks[0].request == request
    assert box.state.lanes["cpu0"].loading == other.variant.stages[0], "and it is loaded here all the same"


def test_a_chain_goes_as_a_whole(core):
    two = served("two", stage("backbone", 4), stage("head", 3, head="h"))
    box = boxed(core, two, TEN)
    box.ask("ten", 100)
    box.ask("two", 12)
    assert box.running("cloud").stages == two.variant.stages


def test_who_failed_before_stays_here(core):
    """Where it failed is not known; what is known is that this lane costs nothing."""
    box = boxed(core, TEN)
    box.ask("ten", 100)
    urgent = box.ask("ten", 15)
    box.do(Failed(box.running("cloud").work_id, "busy"), 1)
    assert box.running("cloud") is None
    assert box.outcome(urgent) in (None, "late")
    box.finish(at_ms=4)
    assert box.running().tasks[0].request == urgent


# ---- waiting for a lane far away


def test_who_waits_for_a_lane_far_away_is_not_given_up_here(core):
    """Both lanes are busy until 10; due at 21: late here behind the other, in time there."""
    box = boxed(core, TEN, batch_max=1)
    box.ask("ten", 100)
    box.ask("ten", 12)
    assert box.running("cloud")
    kept = box.ask("ten", 21)
    also = box.ask("ten", 21)
    assert (box.outcome(kept), box.outcome(also)) == (None, None)
    box.finish(at_ms=10, lane="cloud")
    assert box.running("cloud").tasks[0].request == also, "the first of them makes it here"


def test_who_has_waited_in_vain_is_given_up_in_time(core):
    """The lane far away takes longer than expected: at 12 it is too late for whoever is due at 21."""
    box = boxed(core, TEN, batch_max=1)
    box.ask("ten", 100)
    box.ask("ten", 12)
    box.ask("ten", 21)
    also = box.ask("ten", 21)
    assert box.outcome(also) is None
    assert box.woken_at_ms() <= 11.001
    box.do(Woke(), 12)
    assert box.outcome(also) == "late"


def test_a_lane_that_goes_down_gives_back_what_it_had(core):
    box = boxed(core, TEN)
    box.ask("ten", 100)
    urgent = box.ask("ten", 15)
    box.do(LaneDown("cloud", "unplugged"), 1)
    box.finish(at_ms=10)
    assert box.running().tasks[0].request == urgent
    box.finish(at_ms=14)
    assert box.outcome(urgent) == "ok"
    assert box.clean()


# ---- money


def test_a_budget_is_kept(core):
    """Two tasks a second, and two to begin with."""
    far = tuple(LaneUp(f"cloud{n}", "remote", 10**6) for n in range(4))
    box = observed(boxed(core, TEN, far=far, budget_per_s=2, batch_max=1))
    box.ask("ten", 10_000)
    for _ in range(4):
        box.ask("ten", 12)
    assert (box.burst.spent, box.burst.sent) == (2, 2)
    for lane in ("cloud0", "cloud1"):
        box.finish(at_ms=10, lane=lane)
    box.do(LaneUp("late", "cpu", 10**6), 499)  # anything that happens
    assert box.burst._affordable([], 499 * MS) == 0
    assert box.burst._affordable([], 501 * MS) == 1
    assert box.burst._affordable([], 60_000 * MS) == 2, "no more than a second's worth is kept"


def test_what_was_ordered_in_this_moment_counts_already(core):
    """Several lanes are given work before anybody is told of the first."""
    far = tuple(LaneUp(f"cloud{n}", "remote", 10**6) for n in range(4))
    box = boxed(core, TEN, far=(), budget_per_s=2, batch_max=1)
    box.ask("ten", 10_000)
    waiting = [box.ask("ten", 14) for _ in range(1)]
    assert waiting
    for up in far:
        box.do(up)
    box.ask("ten", 12)
    box.ask("ten", 12)
    box.ask("ten", 12)
    assert sum(lane.running is not None for lane in box.state.lanes.values() if lane.kind == "remote") == 2


def test_no_price_no_limit(core):
    far = tuple(LaneUp(f"cloud{n}", "remote", 10**6) for n in range(4))
    box = observed(boxed(core, TEN, far=far, price=0, budget_per_s=0, batch_max=1))
    box.ask("ten", 10_000)
    for _ in range(4):
        box.ask("ten", 12)
    assert (box.burst.sent, box.burst.spent) == (4, 0)


def test_no_budget_no_burst(core):
    box = boxed(core, TEN, budget_per_s=0)
    box.ask("ten", 100)
    assert box.outcome(box.ask("ten", 15)) is None
    assert box.running("cloud") is None


@pytest.mark.parametrize("options", [{"price": -1}, {"budget_per_s": -1}, {"batch_max": 0}])
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match="expected"):
        CloudBurst(EarliestDeadlineFirst(), **options)


# ---- what is left alone


@pytest.mark.parametrize("inner", [EarliestDeadlineFirst, Fifo, SizeOrTimeout])
def test_without_a_lane_far_away_it_is_what_it_wraps(inner):
    alone, wrapped = (simulate(5, 120, ALL_FAULTS, complete(policy)) for policy in (inner(), CloudBurst(inner())))
    assert wrapped.digest == alone.digest


def test_background_work_is_not_worth_money(core):
    box = boxed(core, *models())
    for _ in range(6):
        box.ask("teacher", None)
    assert {run.lane for run in box.runs.values()} == {"cpu0"}


# ---- laws


def far_box(seed, policy, faults=None, requests=80, far=2, fps=30.0, memory_bytes=20_000):
    """The junction on one lane and two far away, in virtual time."""
    ups = [LaneUp("sim0", "simulated", memory_bytes)]
    ups += [LaneUp(f"cloud{number}", "remote", 20_000) for number in range(far)]
    overhead = {f"cloud{number}": 5.0 for number in range(far)}
    world = SimulatedWorld(
        seed, cameras(seed, requests, fps=fps), ups, models(), DETECTIONS, faults, promotions(),
        profile=WithNetwork(Table(), overhead),
    )  # fmt: skip
    digest = Digest()
    run(Scheduler(State(WithNetwork(Table(), overhead)), complete(policy), ANSWERS), world, (digest,))
    return world, digest.hexdigest()


@pytest.mark.parametrize("inner", [EarliestDeadlineFirst, Fifo, SizeOrTimeout, LeastHarm])
@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_forgotten_whatever_happens_far_away(inner, seed):
    world, _ = far_box(seed, CloudBurst(inner(), budget_per_s=20), ALL_FAULTS if seed % 2 else None, memory_bytes=4_000)
    assert Counter(reply.request_id for _, reply in world.replies) == {request.id: 1 for request in world.requests}


def test_same_seed_same_trace_and_only_lanes_far_away():
    once, again = (far_box(3, CloudBurst(), ALL_FAULTS)[1] for _ in range(2))
    assert once == again
    world = SimulatedWorld(1, cameras(1, 40), [FAR], models(), DETECTIONS, profile=Table())
    run(Scheduler(State(Table()), complete(CloudBurst(price=0)), ANSWERS), world)
    assert sum(reply.outcome == "ok" for _, reply in world.replies) > 20


class Spending:
    """Tasks sent far away, with their time."""

    def __init__(self):
        self.sent = []

    def observe(self, moment):
        for action in moment.actions:
            if isinstance(action, Run) and moment.state.lanes[action.lane].kind == "remote":
                assert not action.background
                assert not any(task.attempts for task in action.tasks)
                self.sent.append((moment.now, len(action.tasks)))
        return ()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), budget=st.sampled_from([1.0, 5.0, 30.0]), price=st.sampled_from([0.5, 1.0, 3.0]))
def test_in_no_span_more_is_spent_than_its_budget_and_what_was_saved(seed, budget, price):
    spending = Spending()
    policy = CloudBurst(EarliestDeadlineFirst(), price=price, budget_per_s=budget)
    ups = [LaneUp("sim0", "simulated", 20_000), LaneUp("a", "remote", 20_000), LaneUp("b", "remote", 20_000)]
    world = SimulatedWorld(seed, cameras(seed, 160, fps=40), ups, models(), DETECTIONS, profile=Table())
    run(Scheduler(State(Table()), complete(policy), ANSWERS), world, (spending,))
    for first, (begin_ns, _) in enumerate(spending.sent):
        tasks = 0
        for now, sent in spending.sent[first:]:
            tasks += sent
            assert tasks * price <= policy.full + budget * (now - begin_ns) / 1e9 + 1e-6
    assert policy.sent == sum(sent for _, sent in spending.sent)
    assert policy.spent == pytest.approx(price * policy.sent)


@pytest.mark.parametrize("inner", [SizeOrTimeout, LeastHarm])
@pytest.mark.parametrize("load", [0.9, 1.5])
def test_money_buys_answers_and_no_more_than_are_possible(inner, load):
    """Four models, 50 tasks a second far away: at least half of what was paid for is a good answer more."""
    scenario = edge4_remote(load, "poisson", 1, 3.0)
    deadlines = {request.id: request.deadline_ns for request in scenario.requests}

    def good(budget):
        policy = CloudBurst(inner(), budget_per_s=budget)
        world = play(scenario, complete(policy), scenario.profile.around(Table(margin=1.06)))
        ok = [reply for now, reply in world.replies if reply.outcome == "ok" and now <= deadlines[reply.request_id]]
        return len(ok), policy.spent

    (without, nothing), (with_burst, spent) = good(0), good(50)
    assert nothing == 0
    assert with_burst - without >= spent / 2 > 0
    assert with_burst <= goodput_bound(scenario)


def test_the_system_of_the_paper_is_this_one():
    scenario = edge4_remote(1.1, "gamma4", 0, 2.0)
    mark = system("mark")
    assert mark.needs() <= offered(scenario)
    assert "remote" in mark.needs()
    policy = mark.make_policy()
    world = play(scenario, policy, scenario.profile.around(mark.make_estimator()), mark.make_planners())
    assert policy.inner.inner.sent > 0
    assert len(world.replies) == len(scenario.requests)


# ---- the prediction


def test_who_is_left_behind_by_hand(core):
    """Free at 10, then batches as large as the first allows: of six due at 30, four (22) would end at 32; two (14) end
    at 24 and the others have no time."""
    box = boxed(core, TEN, far=(), inner=EarliestDeadlineFirst(batch_max=1))
    box.ask("ten", 100)
    requests = [box.ask("ten", 30) for _ in range(6)]
    behind = left_behind(box.state, [*box.state.lanes.values()], 0, 8, 256)
    assert [task.request for task in behind] == requests[2:]
    assert left_behind(box.state, [], 0, 8, 256) != []
    assert len(left_behind(box.state, [], 0, 8, 3)) == 3


# ---- batches by size or timeout


def test_a_batch_goes_when_it_has_its_size_or_its_first_has_waited(core):
    box = core(TEN, policy=complete(SizeOrTimeout(size=2, timeout_ms=5)))
    box.ask("ten", 100)
    assert box.running() is None
    assert box.woken_at_ms() == 5
    box.ask("ten", 100, at_ms=1)
    assert len(box.running().tasks) == 2
    box.finish(at_ms=15)
    box.ask("ten", 100, at_ms=16)
    box.do(Woke(), 21)
    assert len(box.running().tasks) == 1


def test_of_two_that_may_go_the_one_that_is_due_first(core):
    other = served("other", stage("other", 10))
    box = core(TEN, other, policy=complete(SizeOrTimeout(size=1)))
    box.ask("ten", 500)
    box.ask("ten", 400)
    late = box.ask("other", 100)
    box.finish(at_ms=10)
    assert box.running().tasks[0].request == late


def test_who_cannot_make_it_is_dropped(core):
    box = core(TEN, policy=complete(SizeOrTimeout(size=1)))
    box.ask("ten", 100)
    lost = box.ask("ten", 8)
    assert box.outcome(lost) == "late"


@pytest.mark.parametrize("options", [{"size": 0}, {"timeout_ms": -1}])
def test_a_size_and_a_timeout_that_are_none(options):
    with pytest.raises(ValueError, match="expected"):
        SizeOrTimeout(**options)
