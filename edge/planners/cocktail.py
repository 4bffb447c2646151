"""Plans lanes for the members of ensembles: members that are asked more get more lanes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Event, Run
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.planners.blocks.posting import Posting
from edge.planners.infaas import placed
from edge.plugins import About

SECOND_NS = 1_000_000_000


@dataclass
class Importance:
    """Posts `variants` (the shares of each model's variants) and, with several lanes, `placement`, every `period_s`.

    A member's weight is what it served in the last period relative to the member that served most. A model gets the
    lanes times the weight of its most important member, rounded down, at least one.

    `period_s`: seconds between two plans.
    """

    period_s: float = 10.0

    about: ClassVar[About] = About(
        paper="Cocktail (Gunasekaran et al., NSDI 2022, section 4.2): importance sampling of pools",
        sources={"period_s": "ours: a few times the interval in which members come and go"},
        deviations=("a fixed number of lanes is assigned, where the paper launches virtual machines",),
        needs=frozenset({"ensemble", "lanes"}),
    )

    def __post_init__(self) -> None:
        self.posting = Posting()
        self.served: Counter[tuple[str, str]] = Counter()  # (model, variant) -> tasks of this period
        self.began_ns: int | None = None

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Counts served tasks and yields a new plan after every period."""
        if self.began_ns is None:
            self.began_ns = moment.now
        for action in moment.actions:
            if isinstance(action, Run) and not action.background:
                self._ran(action, moment.state)
        if moment.now - self.began_ns >= self.period_s * SECOND_NS and self.served:
            self.began_ns = moment.now
            self._plan(moment.state)
        yield from self.posting.due(moment.state.plan)

    def _ran(self, run: Run, state: State) -> None:
        for task in run.tasks:
            if task.at == 0:
                variants = state.models[task.model].variants
                name = next((name for name, variant in variants.items() if variant.stages == task.chain), "")
                self.served[task.model, name] += 1

    def _plan(self, state: State) -> None:
        served, self.served = self.served, Counter()
        self.posting.want(variants=shares_of(served))
        if len(state.lanes) > 1:
            self.posting.want(placement=placed(lanes_of(served, len(state.lanes)), [*state.lanes]))


def shares_of(served: Mapping[tuple[str, str], int]) -> dict[str, dict[str, float]]:
    """Returns, by model, the share of its tasks that each variant served; a variant out of service has none.

    `served`: (model, variant) -> tasks; the variant is empty if it is out of service.
    """
    totals: Counter[str] = Counter()
    for (model, _), count in served.items():
        totals[model] += count
    shares: dict[str, dict[str, float]] = {model: {} for model in sorted(totals)}
    for (model, name), count in sorted(served.items()):
        if name:
            shares[model][name] = count / totals[model]
    return shares


def lanes_of(served: Mapping[tuple[str, str], int], lanes: int) -> dict[str, int]:
    """Returns the number of lanes of each model, the most important model first."""
    most = max(served.values())
    weights: dict[str, float] = {}
    for (model, _), count in served.items():
        weights[model] = max(weights.get(model, 0.0), count / most)
    ranked = sorted(weights, key=lambda model: (-weights[model], model))
    return {model: max(1, int(lanes * weights[model])) for model in ranked}
