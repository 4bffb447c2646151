"""Implements Leeway's own policy: runs what brings most requests in time per millisecond, less the harm to others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp
from typing import ClassVar

from edge.core.events import NEVER, Action, Event, Run, Task, Time
from edge.core.interfaces import Moment
from edge.core.queues import Entry
from edge.core.state import Lane, State
from edge.meters.slo_attainment import Attainment
from edge.plugins import About
from edge.policies.blocks.feasibility import idle, tail_ns, wake
from edge.policies.blocks.queue_view import QueueView
from edge.policies.blocks.variant_options import Offer, offers, run, shed, shed_ns
from edge.policies.blocks.variant_upgrade import fits, quickest, upgraded

TABLES_MAX = 1_024  # new stages come with promotions; a table is quickly computed again

Choice = tuple[float, QueueView, int, int]  # worth, queue, heads that are skipped, batch size


@dataclass
class LeastHarm:
    """Examines a few batches of each queue and runs the one of the highest worth.

    A batch of n tasks that takes L and skips k heads is worth

        weight * (n - skipped * k) / L * exp(-slack / (patience * work)) - harm * lost / L

    slack: how long it could wait; work: what one batch of every queue would take; lost: by how many tasks the largest
    batches of the other queues shrink while it runs. The first part is apparent tardiness cost (Vepsalainen and Morton,
    Management Science 1987) for batches: under low load the most urgent batch goes first, under overload the most
    productive one.

    Of several variants the quickest is planned with, and the most accurate one that costs no other task its deadline is
    run. Raises `ValueError` for options out of range.

    `patience`: how slowly worth falls with slack, above 0.
    `skipped`: what a skipped head costs, in tasks.
    `harm`: what a task by which another queue's batch shrinks costs, in tasks.
    `fairness`: 0..1; 0: only the number of requests in time counts; 1: no app may stay below the average. An app's
        weight rises once its share in time falls below overall share ** (1 / fairness).
    `push`: largest rise of a weight, which is then 1 + `push`.
    `forget`: weight of the latest request in the shares.
    `batch_max`: largest number of tasks in one batch.
    `boundary_ms`: a following stage shorter than this runs along with the one before.
    """

    patience: float = 0.5
    skipped: float = 0.2
    harm: float = 0.5
    fairness: float = 0.25
    push: float = 5.5
    forget: float = 0.016
    batch_max: int = 32
    boundary_ms: float = 2.0

    about: ClassVar[About] = About(
        paper="ours; apparent tardiness cost: Vepsalainen and Morton, Management Science 1987",
        sources={
            "patience": "ours: random search on four models, Poisson and bursts, loads 0.7 to 1.5 (decision 0010)",
            "skipped": "ours: the same search; flat from 0.1 to 0.25",
            "harm": "ours: the same search; flat from 0.4 to 1.2",
            "fairness": "ours: goodput near the best, and about that of least laxity for the model served worst",
            "push": "ours: the same search; flat from 4 to 12",
            "forget": "ours: about the last sixty requests of an app",
            "batch_max": "ours: what the stages accept decides",
            "boundary_ms": "ours: the cost of a stage boundary, as in the other policies",
        },
    )

    def __post_init__(self) -> None:
        if not 0 <= self.fairness <= 1 or self.patience <= 0:
            raise ValueError("fairness is 0 to 1, patience above 0")
        self.boundary_ns = round(self.boundary_ms * 1e6)
        self.attainment = Attainment(self.forget)
        self._tables: dict[str, dict[str, tuple[Sequence[int], list[int]]]] = {}  # lane -> stage -> sizes, durations
        self._ended: dict[str, int] = {}  # lane -> last work whose stages were removed from its tables

    def order(self, task: Task) -> tuple[int, ...]:
        return (NEVER if task.deadline_ns is None else task.deadline_ns, -task.priority, task.arrived_ns)

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Measures the shares of requests in time, if fairness uses them; posts no events."""
        if self.fairness:
            self.attainment.observe(moment)
        return ()

    def decide(self, state: State, now: Time) -> Action | None:
        """Drops a lost task, else runs the batch of the highest worth on an idle lane, else sleeps."""
        self._forget(state)
        if not state.queues:
            return None
        lanes = idle(state)
        if not lanes and state.lanes:
            return None  # tasks that are lost meanwhile are dropped when a lane is free
        if reply := shed(state, now):
            return reply
        for lane in lanes:
            if lines := [*self._lines(state, lane, now)]:
                return self._best(state, lane, lines, now, alone=len(lanes) == 1)
        return wake(state, shed_ns(state))

    # ---- queues --------------------------------------------------------------------------------------------------

    def _lines(self, state: State, lane: Lane, now: Time) -> Iterator[QueueView]:
        tables = self._tables.setdefault(lane.name, {})
        for queue in state.queues.values():
            head = queue[0][2]
            if not (ways := ways_of(state, head, lane)):
                continue
            way = quickest(state, ways)
            if way.stage not in tables:
                tables[way.stage] = self._table(state, lane, way.stage)
            line = QueueView(way.stage, queue, *tables[way.stage], way.after_ns, self._weight(state, head))
            line.look(now)
            yield line

    def _forget(self, state: State) -> None:
        """Removes the durations of stages that have run since, as the estimator has learnt.

        To be called at every decision: each lane shows only the last work that ended.
        """
        for lane in state.lanes.values():
            if lane.ended is not None and self._ended.get(lane.name) != lane.ended.work_id:
                self._ended[lane.name] = lane.ended.work_id
                tables = self._tables.get(lane.name, {})
                for digest in lane.ended.stages:
                    tables.pop(digest, None)
                if len(tables) > TABLES_MAX:
                    tables.clear()

    def _table(self, state: State, lane: Lane, digest: str) -> tuple[Sequence[int], list[int]]:
        stage = state.stages[digest]
        sizes = [size for size in stage.batches if size <= self.batch_max] or [1]
        return sizes, [state.estimator.duration_ns(stage, size, lane.name) for size in sizes]

    def _weight(self, state: State, task: Task) -> float:
        if not self.fairness:
            return 1.0
        share = self.attainment.share_of(state, task)
        floor = self.attainment.overall ** (1 / self.fairness)
        return 1.0 if share >= floor else 1 + self.push * (floor - share) / floor

    # ---- the choice ----------------------------------------------------------------------------------------------

    def _best(self, state: State, lane: Lane, lines: list[QueueView], now: Time, alone: bool) -> Run:
        choices = sorted(self._choices(lines, now), key=lambda choice: (-choice[0], choice[1].queue[0]))
        best: Choice | None = None
        for worth, line, skip, size in choices:
            if best is not None and worth <= best[0]:
                break  # choices are sorted by worth without harm, and harm only lowers it
            if alone and len(lines) > 1:
                worth = self._less_harm(worth, line, size, lines, now, best[0] if best else -1e300)
            if best is None or worth > best[0]:
                best = (worth, line, skip, size)
        _, line, skip, size = best or (0.0, lines[0], 0, 1)  # the only waiting task, late by estimate but tried
        tasks = members(line.queue, skip, size)
        ways = ways_of(state, tasks[0], lane)
        way = upgraded(state, ways, tasks, line, lines, now) if len(ways) > 1 else ways[0]
        if not fits(state, way, tasks):
            tasks = tasks[:1]
        return run(state, way, tasks, self.boundary_ns)

    def _choices(self, lines: list[QueueView], now: Time) -> Iterator[Choice]:
        """Yields the best batch of each queue, before harm to the others."""
        offers = [(line, line.starts(now)) for line in lines]
        work = sum([line.durations_ns[line.sizes.index(starts[0][1])] for line, starts in offers if starts])
        rate = 1 / (self.patience * work) if work else 0.0
        for line, starts in offers:
            best: Choice | None = None
            for skip, size in starts:
                took = line.durations_ns[line.sizes.index(size)]
                slack = line.due_ns(skip) - now - took
                worth = line.weight * (size - self.skipped * skip) / took * exp(-slack * rate)
                if best is None or worth > best[0]:
                    best = (worth, line, skip, size)
            if best is not None:
                yield best

    def _less_harm(
        self, worth: float, chosen: QueueView, size: int, lines: list[QueueView], now: Time, enough: float
    ) -> float:
        """Returns the worth less the harm to other queues; exact only while it is above `enough`."""
        took = chosen.durations_ns[chosen.sizes.index(size)]
        end = now + took
        for line in lines:
            if line is not chosen and line.until_ns < end and line.batch:
                worth -= self.harm * line.weight * line.lost(end) / took
                if worth <= enough:
                    break
        return worth


def ways_of(state: State, task: Task, lane: Lane) -> list[Offer]:
    """Returns the ways to serve a task on this lane, the most accurate first; quicker than `offers` for one variant."""
    model = state.models.get(task.model)
    if model is not None and len(model.variants) > 1:
        return offers(state, task, lane)
    stage = task.chain[task.at]
    if stage not in lane.residency.resident:
        return []
    return [Offer(lane, "", stage, tail_ns(state, task, lane) if len(task.chain) > 1 else 0, 1.0)]


def members(queue: Sequence[Entry], skip: int, size: int) -> tuple[Task, ...]:
    """Returns the tasks of this batch; only the first if one of them failed before, since such a task runs alone."""
    tasks = tuple([entry[2] for entry in queue[skip : skip + size]])
    return tasks[:1] if any(task.attempts for task in tasks) else tasks
