"""Implements Proteus' planning: serves cheaper variants under high demand, and the most accurate ones under low."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import Lane, State
from edge.meters.arrival_rate import RateMeter
from edge.meters.traffic import Traffic
from edge.planners.blocks.posting import Posting
from edge.planners.blocks.variant_mix import Option, best_mix, served_at_most
from edge.plugins import About
from edge.policies.blocks.feasibility import sizes
from edge.policies.blocks.variant_options import accuracy
from porting.variant import Variant

RATE_MIN = 0.01  # requests per second; a model with less demand needs no share of a lane


@dataclass
class Proteus:
    """Posts the most accurate mix of `variants`, as shares by model, that serves the demand, every `period_s`.

    If no mix serves it, the demand is lowered in steps of `lower` until one does, but not below `least` times what it
    is. Raises `ValueError` for options out of range.

    `window_s`: time constant in seconds of the demand's exponential average.
    `period_s`: seconds between two plans.
    `headroom`: factor on the demand.
    `lower`: step by which that factor is lowered, above 0.
    `least`: smallest factor, above 0, at most `headroom`.
    `share`: part of the SLO that a batch may take, 0..1; the rest is for the wait for the batch before.
    """

    window_s: float = 20.0
    period_s: float = 2.0
    headroom: float = 1.05
    lower: float = 0.05
    least: float = 0.2
    share: float = 0.5

    about: ClassVar[About] = About(
        paper="Proteus: Ahmad et al., ASPLOS 2024 (doi 10.1145/3617232.3624849)",
        sources={
            "window_s": "the authors' code: a moving average over 20 windows",
            "period_s": "ours: the linear program takes a few milliseconds",
            "headroom": "the authors' code: beta; a single lane for everything serves more with 1.3, since otherwise "
            "nothing is left for bursts",
            "lower": "the authors' code: beta is lowered by so much if the program has no solution",
            "least": "the authors' code: the smallest beta",
            "share": "ours: half, as schedulers of batches usually plan; the authors' code has it in its profiles",
        },
        deviations=(
            "a lane runs several variants in turn, where the paper's device runs one: shares of time replace "
            "whole devices, so a linear program replaces the mixed-integer one",
            "what is loaded where is decided elsewhere; only variants that are loaded count",
            "a request gets its variant when it is dispatched, not from a router on arrival",
        ),
        needs=frozenset({"variants"}),
    )

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.headroom or self.lower <= 0:
            raise ValueError("least must be above 0 and at most headroom, and lower above 0")
        self.traffic = Traffic(RateMeter(window_s=self.window_s))
        self.posting = Posting()
        self._planned_ns: Time = 0

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Measures the traffic and yields a new mix after every period."""
        self.traffic.see(moment)
        if moment.now - self._planned_ns >= self.period_s * 1e9:
            self._planned_ns = moment.now
            self._plan(moment.state, moment.now)
        yield from self.posting.due(moment.state.plan)

    def _plan(self, state: State, now: Time) -> None:
        options = [*self._options(state)]
        choice = {option.model for option in options}
        demands = {name: rate for name, rate in self.traffic.rates(now).items() if rate > RATE_MIN and name in choice}
        options = [option for option in options if option.model in demands]
        if not demands:
            return
        possible, factor = served_at_most(demands, options), self.headroom
        while factor > possible and factor - self.lower >= self.least:
            factor -= self.lower
        if mix := best_mix(demands, options, factor):
            self.posting.want(variants=mix)

    def _options(self, state: State) -> Iterator[Option]:
        """Yields every loaded variant on each lane that holds it, if its SLO leaves time for it."""
        for name, model in sorted(state.models.items()):
            for variant in model.variants.values() if name in self.traffic.slos_ns else ():
                for lane in state.lanes.values():
                    item_s = self._item_s(state, name, variant, lane)
                    if item_s and all(map(lane.residency.holds, variant.stages)):
                        yield Option(name, variant.name, lane.name, item_s, accuracy(variant))

    def _item_s(self, state: State, model: str, variant: Variant, lane: Lane) -> float:
        """Returns the seconds per request of the whole chain, in the largest batch that leaves time to wait.

        0 if not even one request does.
        """
        most_ns, best = self.traffic.slos_ns[model] * self.share, 0.0
        for batch in sizes(state, variant.stages[0], 1 << 30):
            took = sum(state.duration_ns(digest, batch, lane) for digest in variant.stages)
            if took > most_ns:
                break
            best = took / batch / 1e9
        return best
