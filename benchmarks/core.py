"""Measures the core alone: µs per event with 100 tasks waiting, events per second of the virtual
world. Medians over repeats.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median
from time import perf_counter, perf_counter_ns, process_time

from edge.core.events import Action, Arrived, Event, Finished, LaneUp, Load, Loaded, Request, Run, StepResult
from edge.core.loop import run
from edge.core.scheduler import Scheduler
from edge.core.simulation import SimulatedWorld
from edge.core.state import State
from edge.estimators.rolling import Rolling
from edge.estimators.table import Table
from edge.observers.trace import Digest
from edge.policies.edf import EarliestDeadlineFirst
from edge.policies.wrappers.default_stack import complete
from evaluation.synthetic import ANSWERS, DETECTIONS, MS, cameras, models

WAITING = 100
REPEATS = 7
EVENT_US_MAX = 40.0
VIRTUAL_PER_S_MIN = 20_000.0


@dataclass
class Crowd:
    """Holds a core with all models loaded and `WAITING` tasks in its queues, none of which can become late."""

    scheduler: Scheduler
    ids: Iterator[int]
    now: int = 0

    def arrive(self) -> Arrived:
        number = next(self.ids)
        app = ("vehicles", "persons", "detector", "junction")[number % 4]
        return Arrived(Request(number, app, f"camera-{number % 4}", self.now, self.now + 10**13 + number))

    def handle(self, event: Event) -> list[Action]:
        self.now += 1000
        actions = self.scheduler.handle(event, self.now)
        for action in actions:
            if isinstance(action, Load):
                actions += self.handle(Loaded(action.lane, action.stage))
        return actions


def crowd() -> Crowd:
    """Returns a core with `WAITING` tasks in its queues."""
    scheduler = Scheduler(State(Rolling()), complete(EarliestDeadlineFirst()), ANSWERS)
    made = Crowd(scheduler, count(1))
    for event in (LaneUp("cpu0", "cpu", 10**9), *models()):
        made.handle(event)
    while sum(map(len, scheduler.state.queues.values())) < WAITING:
        made.handle(made.arrive())
    return made


def event_us(events: int = 2000) -> tuple[float, float]:
    """Returns the median time of `handle` with constant queues, over all events and over the ends of works alone, µs.

    An end of a work is what makes the core choose and begin the next one.
    """
    made = crowd()
    state = made.scheduler.state
    lane = state.lanes["cpu0"]
    took: dict[type[Event], list[int]] = {Arrived: [], Finished: []}
    for _ in range(events):
        waiting = sum(map(len, state.queues.values()))
        event: Event = made.arrive() if waiting < WAITING else finished(lane.running, state)
        made.now += 1000
        begun = perf_counter_ns()
        made.scheduler.handle(event, made.now)
        took[type(event)].append(perf_counter_ns() - begun)
    return median(took[Arrived] + took[Finished]) / 1e3, median(took[Finished]) / 1e3


def finished(running: Run | None, state: State) -> Finished:
    assert running is not None
    last = running.tasks[0].at + len(running.stages) == len(running.tasks[0].chain)
    return Finished(running.work_id, {task.id: StepResult(done=last) for task in running.tasks}, 1 * MS)


def virtual_per_s(traced: bool, requests: int = 2000) -> tuple[float, float]:
    """Returns events through loop, core and virtual world, per second and per second of CPU time.

    Other load on the machine disturbs the latter less. With `traced`, each moment is also serialised and hashed.
    """
    arrivals = list(cameras(7, requests, fps=12))
    ups = [LaneUp("sim0", "simulated", 10**9)]
    world = SimulatedWorld(7, arrivals, ups, models(), DETECTIONS, profile=Table())
    scheduler = Scheduler(State(Rolling()), complete(EarliestDeadlineFirst()), ANSWERS)
    begun, cpu_begun = perf_counter(), process_time()
    run(scheduler, world, [Digest()] if traced else [])
    return world.events / (perf_counter() - begun), world.events / (process_time() - cpu_begun)


def measure() -> dict[str, float]:
    """Returns the figures, as medians over `REPEATS`."""
    events, ends = zip(*(event_us() for _ in range(REPEATS)), strict=True)
    plain, plain_cpu = zip(*(virtual_per_s(False) for _ in range(REPEATS)), strict=True)
    traced, traced_cpu = zip(*(virtual_per_s(True) for _ in range(REPEATS)), strict=True)
    return {
        "event_us": round(median(events), 1),
        "finished_us": round(median(ends), 1),
        "virtual_events_per_s": round(median(plain)),
        "virtual_events_per_cpu_s": round(median(plain_cpu)),
        "virtual_events_per_s_traced": round(median(traced)),
        "virtual_events_per_cpu_s_traced": round(median(traced_cpu)),
    }


def main() -> dict[str, float]:
    """Prints the table of the measurements and returns the figures."""
    figures = measure()
    print(f"{'figure':<44}{'measured':>12}  aim")
    print(f"{'one event, 100 tasks waiting, median µs':<44}{figures['event_us']:>12}  < {EVENT_US_MAX:.0f}")
    print(f"{'one end of a work, median µs':<44}{figures['finished_us']:>12}")
    print(f"{'virtual world, events/s':<44}{figures['virtual_events_per_s']:>12}  >= {VIRTUAL_PER_S_MIN:.0f}")
    print(f"{'the same, per second of CPU time':<44}{figures['virtual_events_per_cpu_s']:>12}")
    print(f"{'with hashed trace, events/s':<44}{figures['virtual_events_per_s_traced']:>12}")
    print(f"{'the same, per second of CPU time':<44}{figures['virtual_events_per_cpu_s_traced']:>12}")
    print(json.dumps(figures))
    return figures


if __name__ == "__main__":
    main()
