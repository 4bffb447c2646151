"""Measures what a decision costs: one call of `decide` that picks the next work, by models and by waiting tasks."""

import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from statistics import median
from time import perf_counter_ns

from edge.core.events import Arrived, Event, Finished, LaneUp, Load, Loaded, Request, Run, StepResult
from edge.core.interfaces import Moment, Policy
from edge.core.scheduler import Scheduler
from edge.core.state import State
from edge.estimators.table import Table
from edge.policies.least_harm import LeastHarm
from edge.policies.wrappers.default_stack import complete
from evaluation.scenario import MS, affine

MODELS = (1, 10, 100, 1_000)
WAITING = (10, 100, 1_000, 10_000)
AIM_MODELS, AIM_WAITING, AIM_US = 20, 1_000, 300.0


@dataclass
class Timed:
    """Records the time of the calls that put a lane to work."""

    inner: Policy
    took_ns: list[int]

    def order(self, task):  # type: ignore[no-untyped-def]
        return self.inner.order(task)

    def decide(self, state: State, now: int):  # type: ignore[no-untyped-def]
        begun = perf_counter_ns()
        action = self.inner.decide(state, now)
        if isinstance(action, Run):
            self.took_ns.append(perf_counter_ns() - begun)
        return action


@dataclass
class Box:
    """Holds a lane and models of many speeds and deadlines, with a constant number of waiting tasks."""

    scheduler: Scheduler
    learner: LeastHarm
    requests: Iterator[Request]
    now: int = 0

    def handle(self, event: Event) -> None:
        actions = self.scheduler.handle(event, self.now)
        self.learner.observe(Moment(self.now, event, actions, self.scheduler.state))
        for action in actions:
            if isinstance(action, Load):
                self.handle(Loaded(action.lane, action.stage))

    def fill(self, waiting: int) -> None:
        state = self.scheduler.state
        while len(state.requests) < waiting:
            request = next(self.requests)
            arrived = Request(request.id, request.app, request.stream, self.now, self.now + request.deadline_ns)  # type: ignore[operator]
            self.handle(Arrived(arrived))

    def finish(self) -> None:
        running = self.scheduler.state.lanes["sim0"].running
        assert running is not None
        stage = self.scheduler.state.stages[running.stages[0]]
        self.now += stage.durations_ns[len(running.tasks)]
        self.handle(Finished(running.work_id, {task.id: StepResult() for task in running.tasks}))


def requests(models: int, waiting: int) -> Iterator[Request]:
    """Yields requests with deadlines far enough away that the number asked for can wait, and
    near enough to shape every batch.
    """
    random = Random(models * 7 + waiting)
    number = 0
    while True:
        number += 1
        slo_ns = round((30 + 2.0 * waiting * random.uniform(0.5, 1.5)) * MS)
        yield Request(number, f"model{random.randrange(models)}", "bench", 0, slo_ns)


def decisions_us(models: int, waiting: int, works: int) -> list[float]:
    """Returns the times of the decisions that pick a work, µs, sorted."""
    learner, took_ns = LeastHarm(), []
    scheduler = Scheduler(State(Table(margin=1.06)), complete(Timed(learner, took_ns)), {})
    box = Box(scheduler, learner, requests(models, waiting))
    box.handle(LaneUp("sim0", "simulated", 1 << 40))
    random = Random(models)
    for number in range(models):
        box.handle(affine(f"model{number}", random.uniform(0.5, 4), random.uniform(1, 6)))
    box.fill(waiting)
    took_ns.clear()
    gc.collect()
    for _ in range(works):
        box.finish()
        box.fill(waiting)
    return sorted(nanoseconds / 1e3 for nanoseconds in took_ns)


def p99(times: list[float]) -> float:
    return times[min(len(times) - 1, int(0.99 * len(times)))]


def measure(works: int = 300) -> dict[str, dict[str, float]]:
    """Returns median and p99 in µs by "models x waiting"."""
    cells = [(models, waiting) for models in MODELS for waiting in WAITING]
    table = {}
    for models, waiting in [(AIM_MODELS, AIM_WAITING), *cells]:
        times = decisions_us(models, waiting, works * 4 if (models, waiting) == (AIM_MODELS, AIM_WAITING) else works)
        table[f"{models} x {waiting}"] = {"median_us": round(median(times), 1), "p99_us": round(p99(times), 1)}
    return table


def cell(figures: dict[str, float]) -> str:
    return f"{figures['median_us']} / {figures['p99_us']}"


def main() -> dict[str, dict[str, float]]:
    """Prints the table of the measurements and returns the figures."""
    figures = measure()
    print("one decision of the default policy that picks a work: median / p99, µs")
    print(f"{'models':>8}" + "".join(f"{f'{waiting} waiting':>18}" for waiting in WAITING))
    for models in MODELS:
        cells = [figures[f"{models} x {waiting}"] for waiting in WAITING]
        print(f"{models:>8}" + "".join(f"{cell(c):>18}" for c in cells))
    aim = figures[f"{AIM_MODELS} x {AIM_WAITING}"]
    print(f"{AIM_MODELS} models, {AIM_WAITING} waiting: p99 {aim['p99_us']} µs; aim < {AIM_US:.0f}")
    print(json.dumps(figures))
    return figures


if __name__ == "__main__":
    main()
