"""Implements the epochs of Nexus: which batch to aim at for each model, how often, and on which lane."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.meters.arrival_rate import RateMeter
from edge.meters.traffic import Traffic
from edge.planners.blocks.duty_cycles import SECOND_NS, Packing, Room, Session, pack_what_fits
from edge.planners.blocks.posting import Posting
from edge.plugins import About


@dataclass
class Squishy:
    """Posts `batches`, `duty_ns`, `placement` and, under overload, `admitted`, by packing duty cycles for recent rates.

    It plans every `epoch_s`, and earlier, but not before `epoch_min_s`, if a model's rate fell below `low` or rose
    above `high` times the planned one, or the plan's budgets changed. A lane that appears or disappears causes a plan
    at once.

    `epoch_s`: seconds between two plans.
    `epoch_min_s`: least seconds between two plans.
    `low`: ratio to the planned rate below which a plan is made early.
    `high`: ratio to the planned rate above which a plan is made early.
    `window_s`: time constant in seconds of the rates' average.
    `least_per_s`: change of a rate, in tasks per second, that never causes a plan.
    """

    epoch_s: float = 30.0
    epoch_min_s: float = 10.0
    low: float = 0.8
    high: float = 1.1
    window_s: float = 10.0
    least_per_s: float = 1.0
    traffic: Traffic = field(init=False, repr=False)

    about: ClassVar[About] = About(
        paper="Nexus (Shen et al., SOSP 2019, section 4.1)",
        sources={
            "epoch_s": "its released scheduler",
            "epoch_min_s": "its released scheduler",
            "low": "its released scheduler",
            "high": "its released scheduler",
            "window_s": "its released scheduler",
            "least_per_s": "ours: one request per second more or less is no change of traffic",
        },
        deviations=(
            "lanes may differ in speed, so a model is tried on each of them",
            "a box cannot grow: if the demand does not fit, all models are scaled down by the same share",
            "a stage that two models share is planned once for each of them, which errs on the safe side",
            "batches are rounded up to sizes that the stages accept",
        ),
    )

    def __post_init__(self) -> None:
        self.traffic = Traffic(RateMeter(window_s=self.window_s))
        self.posting = Posting()
        self.planned_ns: Time | None = None  # time of the last plan, at first of the first task; None: no task yet
        self.planned: dict[str, float] = {}  # model -> rate that the last plan was made for
        self.lanes: tuple[str, ...] = ()
        self.budgets: Mapping[str, Time] = {}

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Measures the traffic and yields a new plan when one is due."""
        self.traffic.see(moment)
        state, now = moment.state, moment.now
        if self.planned_ns is None:
            self.planned_ns = now if self.traffic.counted else None
        elif self._is_time(state, now):
            self._plan(state, now)
        yield from self.posting.due(state.plan)

    def _is_time(self, state: State, now: Time) -> bool:
        assert self.planned_ns is not None
        since_s = (now - self.planned_ns) / SECOND_NS
        if tuple(state.lanes) != self.lanes and self.lanes:
            return True  # a lane appeared or disappeared: the plan is for another box
        if since_s < self.epoch_min_s:
            return False
        if since_s >= self.epoch_s or not self.lanes or state.plan.budgets_ns != self.budgets:
            return True
        rates = self.traffic.rates(now)
        return any(self._changed(self.planned.get(model, 0.0), rate) for model, rate in rates.items())

    def _changed(self, planned: float, rate: float) -> bool:
        return abs(rate - planned) > self.least_per_s and not self.low * planned <= rate <= self.high * planned

    def _plan(self, state: State, now: Time) -> None:
        self.planned_ns, self.planned = now, self.traffic.rates(now)
        self.lanes, self.budgets = tuple(state.lanes), state.plan.budgets_ns
        rooms = [Room(lane.name, lane.residency.limit_bytes) for lane in state.lanes.values()]
        sessions = [*self._sessions(state)]
        if sessions and rooms:
            self._post(*pack_what_fits(sessions, rooms))

    def _sessions(self, state: State) -> Iterator[Session]:
        for name, rate in self.planned.items():
            model = state.models.get(name)
            if model is not None and model.serving is not None and rate > 0:
                slo_ns = self.budgets.get(name, self.traffic.slos_ns[name])
                yield session(state, name, model.serving.stages, rate, slo_ns)

    def _post(self, packing: Packing, share: float) -> None:
        parts = [(node, part) for node in packing.nodes for part in node.parts]
        batches: dict[str, int] = {}
        for _, part in parts:
            model = part.session.model
            batches[model] = max(part.batch, batches.get(model, 0))
        self.posting.want(
            batches=batches,
            duty_ns={node.lane: round(node.duty_ns) for node in packing.nodes},
            placement={node.lane: tuple(part.session.model for part in node.parts) for node in packing.nodes},
            admitted=dict.fromkeys(batches, share) if share < 1 else {},
        )


def session(state: State, model: str, chain: tuple[str, ...], rate: float, slo_ns: Time) -> Session:
    """Returns the whole chain of a model as one session, with the batch sizes that all of its stages accept.

    `rate`: tasks per second.
    """
    stages = [state.stages[digest] for digest in chain]
    batches = [batch for batch in stages[0].batches if all(batch in stage.batches for stage in stages)]
    blobs = {blob: size for stage in stages for blob, size in stage.blobs.items()}

    @cache
    def duration_ns(batch: int, lane: str) -> Time:
        return sum([state.estimator.duration_ns(stage, batch, lane) for stage in stages])

    return Session(model, rate, slo_ns, batches, duration_ns, blobs)
