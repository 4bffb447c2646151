"""Runs every system on every scenario, one process per core; all systems get the same requests and the same bound."""

import hashlib
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import active_children, get_context
from os import cpu_count
from signal import SIG_IGN, SIGINT, signal
from typing import TypeVar

from edge.answers.cascade import Cascade
from edge.core.interfaces import Observer
from edge.estimators.with_network import WithNetwork
from edge.plugins import PlugIn
from edge.systems import System
from evaluation.accuracy_model import Examiner, Truth
from evaluation.bounds.scenario_bounds import BOUNDS, QUICK, ScenarioBounds
from evaluation.metrics.decision_time import Timed
from evaluation.metrics.drilldown import Drilldown, busiest_second, drilldown
from evaluation.metrics.lane_timeline import LaneTimeline
from evaluation.metrics.outcome import RunOutcome
from evaluation.metrics.scores import Scores, score
from evaluation.scenario import Scenario, play
from porting.variant import Variant

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ComparisonJob:
    """Describes the run of one system on one scenario.

    `near`: whether a drilldown is wanted; `bounds`: `None` for the quick ones, which the process computes itself.
    """

    index: int  # of the scenario
    scenario: bytes  # pickled once for all systems
    system: System
    estimator: PlugIn | None  # None: each system its own
    near: bool = False
    bounds: ScenarioBounds | None = None


@dataclass(frozen=True)
class BoundsJob:
    """Asks for the bounds of one scenario. `name`: which of `BOUNDS`."""

    index: int
    scenario: bytes
    name: str


def outcomes(
    scenarios: Sequence[Scenario],
    systems: Sequence[System],
    estimator: PlugIn | None = None,
    workers: int | None = None,
    near: Iterable[int] = (),
    bounds: Sequence[ScenarioBounds] = (),
) -> Iterator[RunOutcome]:
    """Yields the outcome of every system on every scenario, as they end.

    A run that fails, by a rule of the core or by any error of a system's own code, is an outcome with `trouble`; the
    others go on.

    Args:
        scenarios: what to play.
        systems: what to play it with.
        estimator: for all systems; None: each system's own.
        workers: processes; None: one per core; 1: no other process.
        near: indices of the scenarios to look at in detail.
        bounds: of each scenario; empty: the quick ones.
    """
    close = set(near)
    jobs = [
        ComparisonJob(index, packed, system, estimator, index in close, bounds[index] if bounds else None)
        for index, packed in enumerate(map(pickle.dumps, scenarios))
        for system in systems
    ]
    yield from as_they_end(outcome, jobs, workers)


def bounds_by_index(
    scenarios: Sequence[Scenario], name: str, workers: int | None
) -> Iterator[tuple[int, ScenarioBounds]]:
    """Yields the index and the bounds of each scenario as they end. `name`: which of `BOUNDS`."""
    jobs = [BoundsJob(index, packed, name) for index, packed in enumerate(map(pickle.dumps, scenarios))]
    yield from as_they_end(bounded, jobs, workers)


def bounded(job: BoundsJob) -> tuple[int, ScenarioBounds]:
    return job.index, BOUNDS[job.name](unpacked(job.scenario))


def as_they_end(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None) -> Iterator[Result]:
    """Yields what comes of each job, in any order. `workers`: processes; None: one for each core; 1: none but this."""
    if workers == 1:
        yield from map(work, jobs)
        return
    with pool(workers or cpu_count() or 1) as processes:
        waiting = [processes.submit(work, job) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:  # Ctrl-C, or the caller wants no more: a bound may be half a minute from its end
            for process in active_children():
                process.terminate()
            raise
        finally:
            processes.shutdown(wait=True, cancel_futures=True)


@contextmanager
def pool(workers: int) -> Iterator[Executor]:
    """Yields a pool of spawned processes that ignore Ctrl-C: a fork would inherit the threads
    that draw the progress.
    """
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=signal, initargs=(SIGINT, SIG_IGN)) as made:
        yield made


@lru_cache(maxsize=2)
def unpacked(scenario: bytes) -> Scenario:
    """Returns the unpickled scenario; the last two are cached."""
    made: Scenario = pickle.loads(scenario)
    return made


@lru_cache(maxsize=2)
def bounds_of(packed: bytes) -> ScenarioBounds:
    """Returns the bounds of a scenario, computed once in each process: cheaper than waiting for another one."""
    return BOUNDS[QUICK](unpacked(packed))


def outcome(job: ComparisonJob) -> RunOutcome:
    """Runs one job and returns its outcome, errors included."""
    facts = dict(unpacked(job.scenario).facts)
    try:
        scores, right, near = scored(job)
    except Exception as error:  # a policy may raise anything, which must not lose the results of the others
        return RunOutcome(job.system.name, job.index, facts, trouble=f"{type(error).__name__}: {error}")
    return RunOutcome(job.system.name, job.index, facts, scores, right, drilldown=near)


def scored(job: ComparisonJob) -> tuple[Scores, float | None, Drilldown | None]:
    """Runs one job and returns its scores, the share of offered requests answered correctly and in time (None where
    answers cannot be wrong), and the details where they are wanted.
    """
    scenario, system = unpacked(job.scenario), job.system
    models = [served.variant.model for served in scenario.served]
    scenario = replace(scenario, answers=system.make_answers(scenario.answers, models))
    recorder, policy, examiner = LaneTimeline(), Timed(system.make_policy()), examiner_of(scenario)
    estimator = job.estimator.build() if job.estimator else system.make_estimator()
    if isinstance(scenario.profile, WithNetwork):
        estimator = scenario.profile.around(estimator)
    observers: list[Observer] = [recorder, *system.make_planners(), *([examiner] if examiner else [])]
    world = play(scenario, policy, estimator, tuple(observers))
    bounds = job.bounds or bounds_of(job.scenario)
    scores = score(scenario, world, recorder, bounds, policy.per_event_ns, system.name)
    right = sum(mark.good for mark in examiner.marks) / scores.offered if examiner else None
    near = drilldown(world, recorder.works, busiest_second(scenario.requests)) if job.near else None
    return scores, right, near


def examiner_of(scenario: Scenario) -> Examiner | None:
    """Returns the examiner for a scenario whose variants state accuracies; else None."""
    known = {f"{each.model}/{each.name}": each.accuracy for each in variants(scenario) if each.accuracy is not None}
    if not known or any(isinstance(answer, Cascade) for answer in scenario.answers.values()):
        return None  # whether a cascade is right depends on boxes, of which nothing is known here
    return Examiner(Truth(scenario.seed, ((0, known),)), scenario.answers, labelled=scenario.facts.get("labels", 0.0))


def variants(scenario: Scenario) -> Iterator[Variant]:
    """Yields every variant of the scenario."""
    for served in scenario.served:
        yield from (served.variant, *served.others)


def digest(scenario: Scenario) -> str:
    """Returns the SHA-256 of what every system is asked, which tells whether two comparisons are
    of the same requests.
    """
    asked = ((r.app, r.stream, r.arrived_ns, r.deadline_ns, r.priority) for r in scenario.requests)
    lines = "\n".join(" ".join(map(str, request)) for request in asked)
    return hashlib.sha256(lines.encode()).hexdigest()
