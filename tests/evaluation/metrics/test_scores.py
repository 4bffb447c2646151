"""Scores of runs small enough to be counted by hand."""

import json
from dataclasses import asdict, replace

import pytest

from edge.core.events import (
    Evict,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Load,
    Loaded,
    Outcome,
    Reply,
    Request,
    Run,
    Served,
    Stop,
    Stopped,
    Task,
)
from edge.core.interfaces import Moment
from edge.core.simulation import SimulatedWorld
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.bounds.scenario_bounds import ScenarioBounds
from evaluation.metrics.bootstrap import mean_interval
from evaluation.metrics.decision_time import Timed
from evaluation.metrics.lane_timeline import LaneTimeline
from evaluation.metrics.scores import Scores, jain, quantile, score
from evaluation.presets import edge4
from evaluation.scenario import MS, Scenario, play
from porting.variant import Stage, Variant

STAGE = Stage("onnx", "g", blobs={"g": 70})
SMALL = Stage("onnx", "s", blobs={"s": 7})
BIG = Served(
    Variant("a", "big", (STAGE.digest,), accuracy=0.9),
    (STAGE, SMALL),
    (Variant("a", "small", (SMALL.digest,), accuracy=0.6),),
)


def request(number: int, at_ms: int = 0, slo_ms: int | None = 10, app: str = "a") -> Request:
    return Request(number, app, "camera", at_ms * MS, None if slo_ms is None else (at_ms + slo_ms) * MS)


def scenario(*requests: Request, served: Served = BIG, **facts: object) -> Scenario:
    return Scenario("hand", (served,), requests, facts=facts)


class Story:
    """A run told by hand: what was ordered and what happened, in milliseconds."""

    def __init__(self) -> None:
        self.recorder = LaneTimeline()
        self.replies: list[tuple[int, Reply]] = []
        self.state = State(Table(), stages={STAGE.digest: STAGE, SMALL.digest: SMALL})

    def tell(self, at_ms: float, event: object = None, *actions: object) -> None:
        self.recorder.observe(Moment(round(at_ms * MS), event, actions, self.state))  # type: ignore[arg-type]

    def work(
        self, work_id: int, begin_ms: float, end: object, end_ms: float, *requests: int, **options: object
    ) -> None:
        chain = (SMALL.digest,) if options.pop("variant", "") == "small" else (STAGE.digest,)
        tasks = tuple(Task(number, number, "a", chain, 0, 0, 0) for number in requests)
        self.tell(begin_ms, None, Run(work_id, options.pop("lane", "sim0"), chain, tasks, **options))  # type: ignore[arg-type]
        self.tell(end_ms, end)

    def reply(self, number: int, at_ms: float, outcome: Outcome = "ok", detail: str = "") -> None:
        self.replies.append((round(at_ms * MS), Reply(number, outcome, (number,), detail)))

    def scores(self, told: Scenario, **options: object) -> Scores:
        world = SimulatedWorld(0, (), (), (), profile=Table())
        world.replies = self.replies
        return score(told, world, self.recorder, **options)  # type: ignore[arg-type]


def test_refused_and_late_are_missed() -> None:
    story = Story()
    story.reply(1, 10)
    story.reply(2, 10.000001)
    story.reply(3, 5, "refused")
    story.reply(4, 5, "late")
    scores = story.scores(scenario(*map(request, (1, 2, 3, 4)), request(5, 90, 10, "b")), bounds=ScenarioBounds(4))
    assert (scores.offered, scores.good, scores.attainment) == (5, 1, 0.2)
    assert scores.outcomes == {"good": 1, "overdue": 1, "refused": 1, "late": 1, "unanswered": 1}
    assert (scores.attainment_min, scores.jain) == (0.0, 0.5)
    assert scores.offered_rps == 50.0, "from the first arrival to the last deadline"
    assert (scores.goodput, scores.bound, scores.headroom) == (10.0, 40.0, 0.75)
    assert {app: (each.offered, each.good) for app, each in scores.per_model.items()} == {"a": (4, 1), "b": (1, 0)}


def test_latencies_are_of_the_answered_and_dropped_ones_are_endless() -> None:
    story = Story()
    for number in range(1, 100):
        story.reply(number, number)
    story.reply(100, 1, "late")
    scores = story.scores(scenario(*[request(number, 0, 200) for number in range(1, 101)]))
    assert (scores.p50_ms, scores.p95_ms, scores.p99_ms, scores.p99_all_ms) == (50, 95, 99, 99)
    story.reply(99, 1, "late")
    scores = story.scores(scenario(*[request(number, 0, 200) for number in range(1, 101)]))
    assert (scores.p99_ms, scores.p99_all_ms) == (98, None)


def test_work_that_helped_nobody_is_wasted() -> None:
    story = Story()
    story.work(1, 0, Finished(1, {}), 4, 1, 2)  # for one that was good and one that was not
    story.work(2, 4, Finished(2, {}), 6, 3)  # for nobody who was in time
    story.work(3, 6, Stopped(3), 7, 1)
    story.work(4, 7, Failed(4, "why"), 8, 1)
    story.work(5, 8, LaneDown("sim0", "why"), 10, 1)
    story.work(6, 10, Finished(6, {}, took_ns=2 * MS), 20, 4, background=True)
    story.tell(21, Finished(2, {}))  # late news
    story.reply(1, 10)
    scores = story.scores(
        scenario(request(1), request(2), request(3), request(4, slo_ms=None)), bounds=ScenarioBounds(0)
    )
    assert scores.wasted == pytest.approx(6 / 10)
    assert scores.device_s == {"sim0": pytest.approx(0.012)}
    assert scores.background_s == pytest.approx(0.002)
    assert scores.utilisation == 1.0, "of the 10 ms that matter"
    assert (scores.batches, scores.batch_mean) == ({"1": 4, "2": 1}, 1.2)
    assert (scores.offered, scores.headroom) == (3, None)


def test_loads_evictions_and_preemptions_are_counted() -> None:
    story = Story()
    story.tell(0, None, Load("sim0", STAGE.digest))
    story.tell(3, Loaded("sim0", STAGE.digest))
    story.tell(3, None, Evict("sim0", STAGE.digest), Load("sim0", SMALL.digest), Stop(7))
    story.tell(4, LaneDown("sim0", "why"))
    story.state.closing = True
    story.tell(5, None, Stop(8))
    scores = story.scores(scenario(request(1)))
    assert (scores.loads, scores.load_bytes, scores.load_s) == (2, 77, 0.003)
    assert (scores.evictions, scores.preemptions) == (1, 1), "what closing stops is no choice of the policy"


def test_accuracy_is_of_the_variant_that_answered() -> None:
    story = Story()
    story.work(1, 0, Finished(1, {}), 1, 1)
    story.work(2, 1, Finished(2, {}), 2, 2, variant="small")
    story.work(3, 2, Finished(3, {}), 3, 3)
    for number, at_ms in ((1, 5), (2, 5), (3, 50)):
        story.reply(number, at_ms, detail="partial" if number == 2 else "")
    scores = story.scores(scenario(*map(request, (1, 2, 3))), bounds=ScenarioBounds(accuracy=2.7))
    assert scores.accuracy == pytest.approx((0.9 + 0.6) / 3), "what comes late is worth nothing"
    assert scores.accuracy_bound == pytest.approx(0.9)
    assert scores.answered_by == {"a/big": 1, "a/small": 1}
    assert scores.partial == 1
    told = scenario(request(1), served=replace(BIG, variant=replace(BIG.variant, accuracy=None), others=()))
    assert story.scores(told).accuracy is None


def test_an_ensemble_is_worth_its_best_member() -> None:
    story = Story()
    story.work(1, 0, Finished(1, {}), 1, 1)
    story.work(2, 1, Finished(2, {}), 2, 2, variant="small")
    story.replies.append((2 * MS, Reply(1, "ok", (1, 2))))
    assert story.scores(scenario(request(1))).accuracy == pytest.approx(0.9)


def test_a_lane_with_a_price_costs_its_busy_seconds() -> None:
    story = Story()
    story.work(1, 0, Finished(1, {}), 500, 1, lane="far")
    scores = story.scores(scenario(request(1), prices={"far": 3.0, "unused": 9.0}))
    assert scores.cost == pytest.approx(1.5)


def test_nothing_to_score_is_said() -> None:
    with pytest.raises(ValueError, match="hand: no request has a deadline"):
        Story().scores(scenario(request(1, slo_ms=None)))


def test_a_whole_run_goes_into_json() -> None:
    made = edge4(1.1, "gamma4", seed=1, duration_s=2.0)
    recorder, timed = LaneTimeline(), Timed(complete(EarliestDeadlineFirst()))
    world = play(made, timed, Table(margin=1.06), (recorder,))
    scores = score(made, world, recorder, ScenarioBounds(1000), decisions_ns=timed.per_event_ns, policy="edf")
    assert json.loads(json.dumps(asdict(scores))) == asdict(scores)
    assert sum(scores.outcomes.values()) == scores.offered == sum(each.offered for each in scores.per_model.values())
    assert scores.good == scores.outcomes["good"] == sum(each.good for each in scores.per_model.values())
    assert scores.outcomes.get("unanswered", 0) == 0
    assert 0 < scores.utilisation <= 1
    assert 0 <= scores.wasted < 0.5
    assert scores.decision_us_p50 is not None
    assert scores.decision_us_p99 is not None
    assert 0 < scores.decision_us_p50 <= scores.decision_us_p99
    assert recorder._running == {}


def test_a_clock_around_a_policy_changes_nothing_but_is_read() -> None:
    made, ticks = edge4(1.1, "poisson", seed=2, duration_s=0.5), iter(range(0, 10**9, 7))
    timed = Timed(complete(EarliestDeadlineFirst()), clock_ns=lambda: next(ticks))
    assert play(made, timed, Table()).replies == play(made, complete(EarliestDeadlineFirst()), Table()).replies
    assert min(timed.per_event_ns) == 7, "an event at which nothing was to do: asked once"
    assert all(spent_ns % 7 == 0 for spent_ns in timed.per_event_ns)
    assert max(timed.per_event_ns) > 7


@pytest.mark.parametrize(
    ("shares", "fairness"), [([1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([0, 0], 1.0), ([0.5, 1], 0.9), ([0.3], 1.0)]
)
def test_jain(shares: list[float], fairness: float) -> None:
    assert jain(shares) == pytest.approx(fairness)


@pytest.mark.parametrize(
    ("share", "count", "value"), [(0.5, None, 5), (0.99, None, 10), (0.07, 100, 7), (0.5, 21, None), (0.0, None, None)]
)
def test_quantile(share: float, count: int | None, value: float | None) -> None:
    assert quantile(list(range(1, 11)), share, count) == value


# ---- intervals -----------------------------------------------------------------------------------------------------


def test_an_interval_of_differences() -> None:
    interval = mean_interval([1.0, 2.0, 1.5, 1.2, 1.8])
    assert interval.mean == pytest.approx(1.5)
    assert 0.9 <= interval.low < 1.5 < interval.high <= 2.1
    assert interval.excludes(0)
    assert not interval.excludes(1.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    three, again, four = (mean_interval([1, 2, 5, 9], seed=seed, draws=30) for seed in (3, 3, 4))
    assert three == again != four


def test_one_value_and_none() -> None:
    assert mean_interval([2.0]) == mean_interval([2.0, 2.0])
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_it_covers_about_as_often_as_it_says() -> None:
    import numpy as np

    drawn = np.random.default_rng(0).normal(3.0, 1.0, (200, 20))
    hits = [not mean_interval(list(row), 0.9, draws=400).excludes(3.0) for row in drawn]
    assert 0.82 <= sum(hits) / len(hits) <= 0.95


def test_lanes_of_the_scenario_count_even_where_they_did_nothing() -> None:
    story = Story()
    story.work(1, 0, Finished(1, {}), 5, 1)
    two = replace(scenario(request(1)), lanes=(LaneUp("sim0", "simulated", 1), LaneUp("idle", "simulated", 1)))
    scores = story.scores(two)
    assert scores.device_s == {"sim0": 0.005, "idle": 0.0}
    assert scores.utilisation == 0.25
