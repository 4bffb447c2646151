"""Implements SHEPHERD's HERD: decides every few seconds which lanes serve which models."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.meters.traffic import Traffic
from edge.planners.blocks.duty_cycles import SECOND_NS, Room, Session, throughput
from edge.planners.blocks.lane_groups import Group, StreamRate, exact, greedy, ways
from edge.planners.blocks.posting import Posting
from edge.planners.squishy import session
from edge.plugins import About


@dataclass
class Herd:
    """Groups models and lanes by recent rates and posts `placement`, an empty one on a box of one lane.

    It plans every `period_s`, and when a lane appears or disappears.

    `period_s`: seconds between two plans.
    `threshold`: affinity above which two models should not share a group.
    `exact_max`: number of possible groupings above which a greedy one is computed.
    """

    period_s: float = 10.0
    threshold: float = 1.5
    exact_max: int = 1_000

    about: ClassVar[About] = About(
        paper="SHEPHERD (Zhang et al., NSDI 2023): HERD",
        sources={
            "period_s": "the paper",
            "threshold": "the paper: 1.3 to 1.5",
            "exact_max": "ours: some 20 ms in pure Python, for which the daemon waits; the paper uses a solver",
        },
        deviations=(
            "lanes may differ in speed, so a group counts by what its lanes can serve, not by their number",
            "more kinds of models than lanes are no failure: those that suit each other best share",
            "a model that fits nowhere beside the others is not placed, and so may run anywhere",
        ),
    )
    traffic: Traffic = field(init=False, repr=False, default_factory=Traffic)

    def __post_init__(self) -> None:
        self.posting = Posting()
        self.next_ns: Time | None = None
        self.lanes: tuple[str, ...] = ()

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Measures the traffic and yields a new placement when one is due."""
        self.traffic.see(moment)
        state, now = moment.state, moment.now
        if self.traffic.counted and (self.next_ns is None or now >= self.next_ns or self.lanes != (*state.lanes,)):
            begins = self.next_ns is None
            self.next_ns, self.lanes = now + round(self.period_s * SECOND_NS), (*state.lanes,)
            if not begins:
                self.posting.want(placement=placement(self._groups(state, now)) if len(self.lanes) > 1 else {})
        yield from self.posting.due(state.plan)

    def _groups(self, state: State, now: Time) -> list[Group]:
        rooms = [Room(lane.name, lane.residency.limit_bytes) for lane in state.lanes.values()]
        streams = [*self._streams(state, now)]
        search = exact if ways(len(rooms), len(streams)) <= self.exact_max else greedy
        return search(streams, rooms, self.threshold)

    def _streams(self, state: State, now: Time) -> Iterator[StreamRate]:
        for name, rate in self.traffic.rates(now).items():
            model = state.models.get(name)
            if model is not None and model.serving is not None:
                slo_ns = state.plan.budgets_ns.get(name, self.traffic.slos_ns[name])
                yield stream(session(state, name, model.serving.stages, rate, slo_ns), [*state.lanes])


def stream(session: Session, lanes: list[str]) -> StreamRate:
    """Returns the session with a linear model of its duration, on the lane that serves it best.

    The line goes through its smallest and largest batch. A session whose SLO is too short to wait for a batch counts
    with its smallest batch.
    """
    alone = session.batches[0]
    served = {lane: throughput(session, lane) or alone * SECOND_NS / session.duration_ns(alone, lane) for lane in lanes}
    best = max(lanes, key=lambda lane: served[lane])
    first, last = session.batches[0], session.batches[-1]
    first_ms, last_ms = (session.duration_ns(batch, best) / 1e6 for batch in (first, last))
    per_item = (last_ms - first_ms) / (last - first) if last > first and last_ms > first_ms else first_ms / first
    return StreamRate(session.model, session.rate_per_s, per_item, first_ms - per_item * first, served, session.blobs)


def placement(groups: list[Group]) -> dict[str, tuple[str, ...]]:
    """Returns the models of each lane."""
    return {lane: tuple(stream.model for stream in group.streams) for group in groups for lane in group.lanes}
