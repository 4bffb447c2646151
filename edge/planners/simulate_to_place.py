"""Implements AlpaServe's placement: simulates recent requests to find which models to put on which lanes."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Event, Time
from edge.core.interfaces import Moment, Policy
from edge.core.state import State
from edge.meters.arrival_rate import RateMeter
from edge.meters.traffic import Traffic
from edge.planners.blocks.placements import search
from edge.planners.blocks.posting import Posting
from edge.planners.blocks.what_if import Placement, TaskArrival
from edge.plugins import About
from edge.policies.first_come import FirstCome


@dataclass
class Asking(RateMeter):
    """Keeps the last tasks themselves as well as their counts."""

    recent: deque[tuple[str, Time]] = field(default_factory=deque, repr=False)  # model, arrival

    def count(self, name: str, now: Time, number: int = 1) -> None:
        super().count(name, now, number)
        self.recent.append((name, now))


@dataclass
class SimulateToPlace:
    """Posts the `placement` that serves most recent requests in time, by simulation.

    Placements grow by one model on one lane at a time, until nothing more fits or no request is missed. A simulation
    takes some milliseconds, in which the daemon's loop stands still, so each moment runs at most one. Raises
    `ValueError` for options out of range.

    `requests`: number of recent tasks that are simulated.
    `requests_min`: number of tasks below which no plan is made, at least 1.
    `period_s`: seconds between two plans; a change of lanes or serving variants causes one as well.
    `beam`: number of placements that are followed, each grown by every model on every lane where it fits. 0: only one
        is, by the model with the most misses, on the lane with the least work.
    `patience_s`: seconds for which a simulation waits for a moment without waiting frames.
    `policy`: policy that serves in the simulation.
    """

    requests: int = 400
    requests_min: int = 100
    period_s: float = 60.0
    beam: int = 0
    patience_s: float = 0.25
    policy: Policy = field(default_factory=FirstCome)

    about: ClassVar[About] = About(
        paper="AlpaServe: Li et al., OSDI 2023 (arXiv 2302.11665), section 4.2",
        sources={
            "requests": "ours: some milliseconds; the authors' code plays 30,000, before it serves at all",
            "requests_min": "ours: enough to tell 99 % from less",
            "period_s": "ours: the paper plans again when the traffic changes",
            "beam": "the paper's quick heuristic; the authors' code follows 3",
            "patience_s": "ours: a frame goes before a plan",
            "policy": "the paper: first come, first served",
        },
        deviations=(
            "models are placed whole on single lanes: no model parallelism, no groups",
            "planned while serving, from recent requests, not once from a trace of the past",
            "a task that a result leads to is simulated as a request of its own",
        ),
        needs=frozenset({"lanes"}),
    )

    def __post_init__(self) -> None:
        if not 1 <= self.requests_min <= self.requests or self.beam < 0:
            raise ValueError("requests must be at least requests_min, that at least 1, and beam not below 0")
        self.asking = Asking()
        self.traffic = Traffic(self.asking)
        self.posting = Posting()
        self._search: Iterator[Placement | None] | None = None
        self._box: tuple[object, ...] = ()  # lanes and serving variants of the last plan, see `box_of`
        self._planned_ns: Time = 0
        self._played_ns: Time = 0

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Keeps recent tasks, advances the search by one simulation, and yields the best placement at its end."""
        self.traffic.see(moment)
        while len(self.asking.recent) > self.requests:
            self.asking.recent.popleft()
        state, now = moment.state, moment.now
        if self._search is None and self._due(state, now):
            self._box, self._planned_ns, self._played_ns = box_of(state), now, now
            self._search = search(state, self._asked(), self.policy, self.beam)
        if self._search is not None and (quiet(state) or now - self._played_ns >= self.patience_s * 1e9):
            self._played_ns = now
            self._step(self._search)
        yield from self.posting.due(state.plan)

    def _due(self, state: State, now: Time) -> bool:
        if len(self.asking.recent) < self.requests_min or not state.lanes:
            return False
        return box_of(state) != self._box or now - self._planned_ns >= self.period_s * 1e9

    def _asked(self) -> list[TaskArrival]:
        slos_ns = self.traffic.slos_ns
        return [
            TaskArrival(model, came_ns, slos_ns[model]) for model, came_ns in self.asking.recent if model in slos_ns
        ]

    def _step(self, under_way: Iterator[Placement | None]) -> None:
        """Runs one more simulation of the search, and posts its result if it is the last."""
        try:
            found = next(under_way)
        except StopIteration:
            self._search = None
            return
        if found is not None:
            self.posting.want(placement=found)


def quiet(state: State) -> bool:
    """Returns whether no task with a deadline waits and no lane is busy."""
    return not state.queues and all(lane.running is None for lane in state.lanes.values())


def box_of(state: State) -> tuple[object, ...]:
    """Returns what a placement depends on beside the traffic: lanes and serving variants."""
    served = ((name, model.serving.name) for name, model in sorted(state.models.items()) if model.serving)
    return (*state.lanes, *served)
