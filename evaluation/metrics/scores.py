"""Scores a run. Every request that was offered counts; one that was refused or dropped counts as missed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from edge.core.events import Reply, Request, Task, Time
from edge.core.simulation import SimulatedWorld
from evaluation.bounds.scenario_bounds import ScenarioBounds
from evaluation.metrics.lane_timeline import SECOND_NS, LaneTimeline, Usage, usage
from evaluation.scenario import Scenario

MS = 1_000_000
Replies = Mapping[int, tuple[Time, Reply]]  # by request
Names = Mapping[int, Sequence[tuple[str, str]]]  # by good request: model and variant of each task in its answer


@dataclass(frozen=True)
class PerModel:
    """Holds the scores of one app's requests; an app of a single model has the model's name."""

    offered: int
    good: int
    attainment: float
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class AnswerScores:
    """Holds the scores of the answers. A request is good when its answer came at or before its deadline.

    Rates are over the time from the first arrival to the last deadline; latencies are from arrival to answer, of all
    answered requests, late ones included. None means that there is nothing to compute the number from.
    """

    offered: int
    good: int
    offered_rps: float
    goodput: float  # good requests a second
    attainment: float  # good / offered
    attainment_min: float  # of the worst model
    jain: float  # fairness of the models' attainments: 1 for equal ones, 1/n where one has all
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    p99_all_ms: float | None  # of all offered; one without an answer counts as infinite; None: infinite
    outcomes: Mapping[str, int]  # good, overdue (answered after the deadline), and the reasons of drops
    partial: int  # good answers of only some of their tasks
    accuracy: float | None  # expected share of correct answers in time, of all offered; None: no variant states one
    answered_by: Mapping[str, int]  # "model/variant" -> tasks in good answers
    per_model: Mapping[str, PerModel]


@dataclass(frozen=True)
class PolicyScores:
    """Holds the bounds beside a policy's scores, and the time that its decisions took."""

    policy: str
    bound: float | None  # good requests a second that no policy can exceed
    bound_method: str  # how that was found
    headroom: float | None  # (bound - goodput) / bound
    accuracy_bound: float | None  # `accuracy` that no policy can exceed
    attainment_min_bound: float | None  # `attainment_min` that no policy can exceed
    decision_us_p50: float | None  # for one event
    decision_us_p99: float | None


@dataclass(frozen=True)
class Scores(PolicyScores, Usage, AnswerScores):
    """Holds all scores of a run, flat, as plain numbers and texts. Shares are 0..1."""


def score(
    scenario: Scenario,
    world: SimulatedWorld,
    recorder: LaneTimeline,
    bounds: ScenarioBounds = ScenarioBounds(),  # noqa: B008 - frozen
    decisions_ns: Sequence[int] = (),
    policy: str = "",
) -> Scores:
    """Returns the scores of a run, beside the `bounds` of its scenario.

    A lane costs `scenario.facts["prices"][lane]` for a second of work.

    Args:
        scenario: what was played.
        world: the run.
        recorder: its timeline.
        bound: number of requests that can be good at most.
        accuracy_bound: the same, each times its accuracy.
        decisions_ns: per event, from `decision_time.Timed`.
        policy: its name.

    Raises:
        ValueError: no request has a deadline.
    """
    span = span_ns(scenario)
    span_s = (span[1] - span[0]) / SECOND_NS
    replies = {reply.request_id: (time, reply) for time, reply in world.replies}
    answers = answers_of(scenario, replies, recorder, span_s)
    lanes = [lane.lane for lane in scenario.lanes]
    used = usage(recorder, lanes, span, good_of(scenario, replies), scenario.facts.get("prices", {}))
    thought_us = sorted(ns / 1000 for ns in decisions_ns)
    judged = PolicyScores(
        policy=policy,
        bound=None if bounds.good is None else bounds.good / span_s,
        bound_method=bounds.method,
        headroom=(bounds.good - answers.good) / bounds.good if bounds.good else None,
        accuracy_bound=None if bounds.accuracy is None else bounds.accuracy / answers.offered,
        attainment_min_bound=bounds.attainment_min,
        decision_us_p50=quantile(thought_us, 0.5),
        decision_us_p99=quantile(thought_us, 0.99),
    )
    return Scores(**vars(answers), **vars(used), **vars(judged))


def span_ns(scenario: Scenario) -> tuple[Time, Time]:
    """Returns first arrival and last deadline, which no policy can influence. Raises
    `ValueError` without a deadline.
    """
    due = [
        (request.arrived_ns, request.deadline_ns) for request in scenario.requests if request.deadline_ns is not None
    ]
    if not due:
        raise ValueError(f"{scenario.name}: no request has a deadline, so there is nothing to score")
    begin_ns = min(arrived_ns for arrived_ns, _ in due)
    return begin_ns, max(begin_ns + 1, *(deadline_ns for _, deadline_ns in due))


# ---- answers -------------------------------------------------------------------------------------------------------


def answers_of(scenario: Scenario, replies: Replies, recorder: LaneTimeline, span_s: float) -> AnswerScores:
    """Returns the scores of the answers; rates are per `span_s`."""
    offered = offered_in(scenario)
    good = good_of(scenario, replies)
    names = answered_by(recorder, scenario, replies, good)
    groups: dict[str, list[Request]] = {}
    for request in offered:
        groups.setdefault(request.app, []).append(request)
    per_model = {app: per_model_of(group, replies, good) for app, group in groups.items()}
    attainments = [each.attainment for each in per_model.values()]
    times_ms = latencies_ms(offered, replies)
    return AnswerScores(
        offered=len(offered),
        good=len(good),
        offered_rps=len(offered) / span_s,
        goodput=len(good) / span_s,
        attainment=len(good) / len(offered),
        attainment_min=min(attainments),
        jain=jain(attainments),
        p50_ms=quantile(times_ms, 0.5),
        p95_ms=quantile(times_ms, 0.95),
        p99_ms=quantile(times_ms, 0.99),
        p999_ms=quantile(times_ms, 0.999),
        p99_all_ms=quantile(times_ms, 0.99, len(offered)),
        outcomes=outcomes(offered, replies, good),
        partial=sum(replies[number][1].detail == "partial" for number in good),
        accuracy=accuracy(scenario, names, len(offered)),
        answered_by=counted(names),
        per_model=per_model,
    )


def offered_in(scenario: Scenario) -> list[Request]:
    """Returns the requests with a deadline."""
    return [request for request in scenario.requests if request.deadline_ns is not None]


def good_of(scenario: Scenario, replies: Replies) -> set[int]:
    """Returns the ids of the requests that were answered in time."""
    return {request.id for request in offered_in(scenario) if is_good(request, replies.get(request.id))}


def is_good(request: Request, answered: tuple[Time, Reply] | None) -> bool:
    """Returns whether a request with a deadline was answered, with a result, at or before it."""
    if answered is None or request.deadline_ns is None:
        return False
    return answered[1].outcome == "ok" and answered[0] <= request.deadline_ns


def latencies_ms(requests: Sequence[Request], replies: Replies) -> list[float]:
    """Returns the latencies of answered requests in ms, ascending."""
    answered = ((request, replies[request.id]) for request in requests if request.id in replies)
    return sorted((time - request.arrived_ns) / MS for request, (time, reply) in answered if reply.outcome == "ok")


def per_model_of(requests: Sequence[Request], replies: Replies, good: set[int]) -> PerModel:
    """Returns the scores of one app's requests."""
    count, times_ms = sum(request.id in good for request in requests), latencies_ms(requests, replies)
    share = count / len(requests)
    return PerModel(len(requests), count, share, quantile(times_ms, 0.5), quantile(times_ms, 0.99))


def outcomes(requests: Sequence[Request], replies: Replies, good: set[int]) -> dict[str, int]:
    """Counts each request once. "unanswered" indicates a bug: the core answers every request."""
    counts: Counter[str] = Counter()
    for request in requests:
        outcome = replies[request.id][1].outcome if request.id in replies else "unanswered"
        counts["good" if request.id in good else "overdue" if outcome == "ok" else outcome] += 1
    return dict(sorted(counts.items()))


# ---- which variants answered, and how accurate that is -------------------------------------------------------------


def answered_by(recorder: LaneTimeline, scenario: Scenario, replies: Replies, good: set[int]) -> Names:
    """Returns model and variant of each task in every good answer; the variant is empty where it is unknown."""
    named = {
        (each.model, each.stages): each.name for served in scenario.served for each in (served.variant, *served.others)
    }
    last: dict[int, Task] = {}  # works are in order of time, so what remains is the chain that each task ended on
    for work in recorder.works:
        last.update((task.id, task) for task in work.run.tasks)
    return {
        number: [
            (task.model, named.get((task.model, task.chain), ""))
            for task in map(last.get, replies[number][1].tasks)
            if task
        ]
        for number in sorted(good)
    }


def counted(names: Names) -> dict[str, int]:
    """Counts tasks by "model/variant"."""
    counts = Counter(f"{model}/{variant}" for tasks in names.values() for model, variant in tasks)
    return dict(sorted(counts.items()))


def accuracy(scenario: Scenario, names: Names, offered: int) -> float | None:
    """Returns good answers, each weighted by its accuracy, per offered request; None when no
    variant states its accuracy.

    This is "effective accuracy" in Proteus (Ahmad et al., ASPLOS 2024) and SuperServe (Khare et al., NSDI 2025). An
    answer of several variants of one model is assumed to be as accurate as the best of them, one of several models as
    their mean; a variant without a stated accuracy is assumed to be right.
    """
    known = {
        (each.model, each.name): each.accuracy
        for served in scenario.served
        for each in (served.variant, *served.others)
    }
    if all(value is None for value in known.values()):
        return None
    right = 0.0
    for tasks in names.values():
        best: dict[str, float] = {}
        for model, variant in tasks:
            value = known.get((model, variant))
            best[model] = max(best.get(model, 0.0), 1.0 if value is None else value)
        right += sum(best.values()) / len(best) if best else 1.0
    return right / offered


# ---- statistics ----------------------------------------------------------------------------------------------------


def quantile(ascending: Sequence[float], share: float, count: int | None = None) -> float | None:
    """Returns the smallest value that at least `share` of all do not exceed.

    `count`: size of the whole sample, of which the values beyond `ascending` are infinite. None when the quantile is
    infinite or there are no values.
    """
    at = ceil(share * (len(ascending) if count is None else count) - 1e-9) - 1  # 0.07 * 100 is a little above 7
    return ascending[at] if 0 <= at < len(ascending) else None


def jain(shares: Sequence[float]) -> float:
    """Returns Jain's fairness index (Jain, Chiu and Hawe, DEC TR-301, 1984); 1 when all shares
    are 0, which is equal as well.
    """
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
