"""More room for a model that is asked too much of: another lane, or a faster variant, whichever costs less."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar

from edge.answers.panel import on_offer
from edge.core.events import Event, Time
from edge.core.interfaces import About, Moment
from edge.core.state import Lane, State
from edge.meters.arrival_rate import RateMeter
from edge.meters.traffic import Traffic
from edge.planners.blocks.posting import Posting
from porting.variant import Variant

SECOND_NS = 1_000_000_000


@dataclass
class Scale:
    """How far one model is scaled."""

    fastest: int = 0  # variants that are too slow by now, counted from the slowest
    lanes: int = 1
    calm: int = 0  # periods in a row in which less would have done


@dataclass
class UpgradeOrReplicate:
    """Every `period_s`, for each model: are more lanes needed than it has, at the share `used` of what they can do, it
    gets them, unless they are more than there are, or more than `cost` times those that the next faster variant would
    need; then variants as slow as the present one are no longer allowed. Back again once less did for `rounds` periods.

    `headroom`: a batch is so large that it fits that many times into the deadline. Posts `variants` (those allowed, in
    equal shares: for `edge.answers.infaas`) and, with several lanes, `placement`.
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
            "what a choice costs is lanes, not money",
            "lanes that other models need are not there; whoever needs most is looked at first",
            "machines are neither started nor stopped, and loading time is no cost",
        ),
        needs=frozenset({"variants"}),
    )

    def __post_init__(self) -> None:
        self.traffic = Traffic(RateMeter(window_s=self.period_s * 5))
        self.posting = Posting()
        self.scales: dict[str, Scale] = {}
        self.looked_ns: Time | None = None

    def observe(self, moment: Moment) -> Iterator[Event]:
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
        """`needs`: lanes, fully used, with each variant from the slowest on. `there`: lanes that it may have."""
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
        """One lane less, or, with one alone, the next slower variant."""
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
        """Variants from the slowest on, with the requests a second that one lane does with each."""
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
    """So many lanes for each model, on those with the fewest models so far; of equals the first."""
    models: dict[str, list[str]] = {lane: [] for lane in lanes}
    for model, count in wanted.items():
        for lane in sorted(lanes, key=lambda lane: len(models[lane]))[:count]:
            models[lane].append(model)
    return {lane: tuple(names) for lane, names in models.items()}
