"""Several models look at every frame, and each counts by how well it has done so far."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.answers.ensemble import SOURCES, Ensemble
from edge.answers.panel import loss_of, remember
from edge.answers.trust import Trust
from edge.core.events import Event, Feedback, Request
from edge.core.interfaces import About, Moment, Opening, Vote


@dataclass
class Exp4(Ensemble):
    """An `Ensemble` that learns from `Feedback` whom to believe. `rate`: how fast a loss counts. `share`: of the trust
    that is dealt out anew after each label, so that a member that was bad before a drift comes back.
    """

    rate: float = 0.05
    share: float = 0.02
    remembered_max: int = 4096

    about: ClassVar[About] = About(
        paper="Exp4 as in Clipper (Crankshaw et al., NSDI 2017, section 5.2)",
        sources={
            **SOURCES,
            "rate": "ours: so slow that they stay a team; believing the best one alone is less often right",
            "share": "fixed share (Herbster and Warmuth, Machine Learning 1998): ours, one drift in 50 labels",
            "remembered_max": "ours: a bound on memory",
        },
        deviations=(
            "trust is shared out anew (fixed share): the paper's members never come back after a drift",
            "who did not come in time, and has no loss, keeps its trust against the others",
            "the released code averages labels as whole numbers, and adds to weights; here votes are weighed",
        ),
        needs=frozenset({"ensemble", "labels"}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.trust = Trust()
        self.mine: dict[int, None] = {}  # requests that this app opened; another app's are none of its business

    def opened(self, request: Request) -> Sequence[Opening]:
        remember(self.mine, request.id, None, self.remembered_max)
        return super().opened(request)

    def weight(self, request: Request, vote: Vote) -> float:
        return self.shares().get(self.panel.member_of(vote.member), 0.0)

    def shares(self) -> dict[str, float]:
        """How much each is believed now."""
        self.trust.keep(self.panel.members())
        return self.trust.shares()

    def observe(self, moment: Moment) -> Iterator[Event]:
        yield from super().observe(moment)
        event = moment.event
        if isinstance(event, Feedback) and event.request_id in self.mine:
            del self.mine[event.request_id]
            self._learn(event.losses)

    def _learn(self, losses: Mapping[str, float]) -> None:
        self.trust.keep(self.panel.members())
        known = {member: loss_of(losses, member) for member in self.trust.logs}
        self.trust.punish({member: loss for member, loss in known.items() if loss is not None}, self.rate)
        self.trust.mix(self.share)
