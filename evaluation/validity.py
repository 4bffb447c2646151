"""Refuses a scenario with which nothing could be measured, and remarks upon a doubtful one, in one line each."""

from collections.abc import Iterator
from itertools import pairwise

from edge.answers.single import Single
from edge.core.events import NEVER, Time
from edge.estimators.table import Table
from evaluation.scenario import MS, Scenario
from porting.errors import UserError
from porting.variant import Stage


def check(scenario: Scenario) -> None:
    """Raises `UserError` with the first reason for which there is nothing to measure."""
    for there, what in (
        (scenario.served, "no model is served; there is nothing to schedule"),
        (scenario.lanes, "no lane; there is nothing to run on"),
        (scenario.requests, "no request arrives; make it longer or raise the load"),
    ):
        if not there:
            raise UserError(f"{scenario.name}: {what}")
    if all(request.deadline_ns is None for request in scenario.requests):
        raise UserError(f"{scenario.name}: no request has a deadline; give one to some, as in the column slo_ms")
    for app, slo_ns in shortest_slo_ns(scenario).items():
        if slo_ns < (run_ns := fastest_ns(scenario, app)):
            raise UserError(
                f"{app}: its SLO of {slo_ns / MS:g} ms is shorter than its fastest run of {run_ns / MS:g} ms;"
                " no policy can keep it"
            )


def shortest_slo_ns(scenario: Scenario) -> dict[str, Time]:
    """Returns the shortest SLO of each app in ns, of the requests with a deadline, in the order of their first one."""
    found: dict[str, Time] = {}
    for request in scenario.requests:
        if request.deadline_ns is not None:
            found[request.app] = min(found.get(request.app, NEVER), request.deadline_ns - request.arrived_ns)
    return found


def fastest_ns(scenario: Scenario, app: str) -> Time:
    """Returns the fastest run of the model that a request of this app begins with, in ns, over its variants and the
    lanes. Raises `UserError`.
    """
    answer = scenario.answers.get(app) or Single(app)
    first = answer.models()[0]
    times = [sum(alone_ns(scenario, stage) for stage in chain) for model, chain in chains(scenario) if model == first]
    if not times:
        served = sorted({served.variant.model for served in scenario.served})
        raise UserError(f"{app}: no model {first!r} is served; served: {', '.join(served)}")
    return min(times)


def chains(scenario: Scenario) -> Iterator[tuple[str, list[Stage]]]:
    """Yields model and stages of every variant that may serve."""
    for served in scenario.served:
        by_digest = {stage.digest: stage for stage in served.stages}
        for variant in (served.variant, *served.others):
            yield variant.model, [by_digest[digest] for digest in variant.stages]


def alone_ns(scenario: Scenario, stage: Stage) -> Time:
    """Returns the duration of the smallest batch on the fastest lane, in ns."""
    profile = scenario.profile or Table()
    return min(profile.duration_ns(stage, min(stage.batches), lane.lane) for lane in scenario.lanes)


def doubts(scenario: Scenario) -> tuple[str, ...]:
    """Returns one line for each profile that is not monotone, i.e. in which a larger batch takes less time."""
    return tuple(
        f"{served.variant.model}: its profile falls from {low_ns / MS:.3g} ms at batch {low} to {high_ns / MS:.3g} ms"
        f" at batch {high}; levelled up, measure it again if that matters"
        for served in scenario.served
        for stage in served.stages
        for (low, low_ns), (high, high_ns) in pairwise(sorted(stage.durations_ns.items()))
        if high_ns < low_ns
    )
