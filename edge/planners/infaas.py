"""Implements INFaaS's scaling: gives an overloaded model another lane or a faster variant, whichever costs less."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar

from edge.answers.panel import on_offer
from edge.core.events import Event, Time
from edge.core.interfaces import Moment
from edge.core.state import Lane, State
from edge.meters.arrival_rate import RateMeter
from edge.meters.traffic import Traffic
from edge.planners.blocks.posting import Posting
from edge.plugins import About
from porting.variant import Variant

SECOND_NS = 1_000_000_000


@dataclass
class Scale:
    """Holds how far one model is scaled."""

    fastest: int = 0  # number of variants that are too slow, counted from the slowest
    lanes: int = 1
    calm: int = 0  # consecutive periods in which less would have been enough


@dataclass
class UpgradeOrReplicate:
    """Posts the allowed `variants` and, with several lanes, `placement`, every `period_s`.

    A model that needs more lanes than it has gets them, unless they are more than there are, or more than `cost` times
    those that the next faster variant would need; then variants as slow as the present one are no longer allowed. It is
    scaled down again after less was enough for `rounds` periods. The allowed variants get equal shares (for
    `edge.answers.infaas`).

    `period_s`: seconds between two plans.
    `used`: share of a lane's capacity that is planned with, 0..1.
    `cost`: ratio of lanes above which a faster variant is cheaper.
    `rounds`: number of periods before scaling down.
    `headroom`: durations of a batch that must fit into the deadline.
    """

    period_s: float = 1.0
    used: float = 0.95
    cost: float = 1.5
    rounds: int = 20
    headroom: float = 2.0
    traffic: Traffic = field(init=False, repr=False)

    about: ClassVar[About] = About(
        paper="INFaaS (Romero et al., ATC 2021, section 4.3)",
        sources={
            "period_s": "its released code: about a second",
            "used": "its released code, CPU variants",
            "cost": "its released code",
            "rounds": "its released code, GPU variants",
            "headroom": "Nexus (SOSP 2019): a request waits for the batch under way, then for its own",
        },
        deviations=(
            "the cost of a choice is counted in lanes, not money",
            "lanes that other models need are not available; models with the largest need are planned first",
            "machines are neither started nor stopped, and loading time is not counted",
        ),
        needs=frozenset({"variants"}),
    )

    def __post_init__(self) -> None:
        self.traffic = Traffic(RateMeter(window_s=self.period_s * 5))
        self.posting = Posting()
        self.scales: dict[str, Scale] = {}
        self.looked_ns: Time | None = None

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Measures the traffic and yields a new plan after every period."""
        self.traffic.see(moment)
        if self.looked_ns is None:
            self.looked_ns = moment.now
        if moment.now - self.looked_ns >= self.period_s * SECOND_NS and moment.state.lanes:
            self.looked_ns = moment.now
            self._plan(moment.state, self.traffic.rates(moment.now))
        yield from self.posting.due(moment.state.plan)

    def _plan(self, state: State, rates: Mapping[str, float]) -> None:
        ladders = {model: ladder for model in rates if (ladder := self._ladder(state, model))}
        for model in sorted(ladders, key=lambda model: (-self._needs(model, rates, ladders), model)):
            scale, ladder = self.scales.setdefault(model, Scale()), ladders[model]
            scale.fastest = min(scale.fastest, len(ladder) - 1)
            others = sum(self._needs(other, rates, ladders) for other in ladders if other != model)
            self._scale(scale, [rates[model] / per_s for _, per_s in ladder], max(0.0, len(state.lanes) - others))
        self._post(state, ladders)

    def _scale(self, scale: Scale, needs: Sequence[float], there: float) -> None:
        """Scales one model up if it needs more, or down if less was enough for long.

        `needs`: lanes needed with each variant from the slowest on, if fully used.
        `there`: lanes that the model may have.
        """
        wanted = needs[scale.fastest] / self.used
        if wanted > min(scale.lanes, there):
            scale.calm = 0
            faster = scale.fastest + 1
            dear = faster < len(needs) and ceil(wanted) > self.cost * ceil(needs[faster] / self.used)
            if faster < len(needs) and (wanted > there or dear):
                scale.fastest = faster
            else:
                scale.lanes = max(1, min(ceil(wanted), int(there)))
        elif self._less_would_do(scale, needs, there):
            scale.calm += 1
            if scale.calm >= self.rounds:
                self._less(scale)
        else:
            scale.calm = 0

    def _less_would_do(self, scale: Scale, needs: Sequence[float], there: float) -> bool:
        """Returns whether one lane less or, with one lane, the next slower variant would be enough."""
        if scale.lanes > 1:
            return needs[scale.fastest] / self.used <= scale.lanes - 1
        return scale.fastest > 0 and needs[scale.fastest - 1] / self.used <= min(1.0, there)

    def _less(self, scale: Scale) -> None:
        scale.calm = 0
        if scale.lanes > 1:
            scale.lanes -= 1
        else:
            scale.fastest -= 1

    def _needs(self, model: str, rates: Mapping[str, float], ladders: Mapping[str, list[tuple[str, float]]]) -> float:
        scale = self.scales.get(model, Scale())
        return rates[model] / ladders[model][min(scale.fastest, len(ladders[model]) - 1)][1]

    def _ladder(self, state: State, model: str) -> list[tuple[str, float]]:
        """Returns the variants from the slowest on, each with the requests per second of one lane."""
        slo_ns = self.traffic.slos_ns.get(model, SECOND_NS)
        lane = next(iter(state.lanes.values()))
        found = [(variant.name, self._per_s(state, variant, lane, slo_ns)) for variant in on_offer(state, model)]
        return sorted(found, key=lambda each: (each[1], each[0]))

    def _per_s(self, state: State, variant: Variant, lane: Lane, slo_ns: Time) -> float:
        best = 0.0
        for batch in state.stages[variant.stages[0]].batches:
            if not all(batch in state.stages[digest].batches for digest in variant.stages):
                continue
            took_ns = sum(state.duration_ns(digest, batch, lane) for digest in variant.stages)
            if not best or self.headroom * took_ns <= slo_ns:
                best = max(best, batch * SECOND_NS / took_ns)
        return best

    def _post(self, state: State, ladders: Mapping[str, list[tuple[str, float]]]) -> None:
        allowed = {model: [name for name, _ in ladders[model][self.scales[model].fastest :]] for model in ladders}
        self.posting.want(variants={model: dict.fromkeys(names, 1 / len(names)) for model, names in allowed.items()})
        if len(state.lanes) > 1:
            self.posting.want(placement=placed({model: self.scales[model].lanes for model in ladders}, [*state.lanes]))


def placed(wanted: Mapping[str, int], lanes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the models of each lane: a model goes on as many lanes as wanted, the emptiest first."""
    models: dict[str, list[str]] = {lane: [] for lane in lanes}
    for model, count in wanted.items():
        for lane in sorted(lanes, key=lambda lane: len(models[lane]))[:count]:
            models[lane].append(model)
    return {lane: tuple(names) for lane, names in models.items()}
