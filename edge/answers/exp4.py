"""Implements Exp4: several models see every frame, and each vote is weighted by how well its model has done so far."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.answers.combining import Vote
from edge.answers.ensemble import SOURCES, Ensemble
from edge.answers.panel import loss_of, remember
from edge.answers.trust import Trust
from edge.core.events import Event, Feedback, Request
from edge.core.interfaces import Moment, Opening
from edge.plugins import About


@dataclass
class Exp4(Ensemble):
    """Weights the votes of an `Ensemble` by trust that it learns from `Feedback`.

    `rate`: learning rate: how much one loss changes a member's trust.
    `share`: part of all trust that is divided equally after each label, 0..1, so that a member that was bad before a
        drift can come back.
    `remembered_max`: requests remembered until their feedback comes; the oldest is forgotten first.
    """

    rate: float = 0.05
    share: float = 0.02
    remembered_max: int = 4096

    about: ClassVar[About] = About(
        paper="Exp4 as in Clipper (Crankshaw et al., NSDI 2017, section 5.2)",
        sources={
            **SOURCES,
            "rate": "ours: slow enough that all members keep a say; following the best one alone is less accurate",
            "share": "fixed share (Herbster and Warmuth, Machine Learning 1998): ours, one drift in 50 labels",
            "remembered_max": "ours: a bound on memory",
        },
        deviations=(
            "part of the trust is redistributed (fixed share): the paper's members never come back after a drift",
            "a member that was too late, and so has no loss, keeps its trust relative to the others",
            "the released code averages labels as integers and adds to weights; here votes are weighted",
        ),
        needs=frozenset({"ensemble", "labels"}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.trust = Trust()
        self.mine: dict[int, None] = {}  # requests that this app opened: feedback on others' is ignored

    def opened(self, request: Request) -> Sequence[Opening]:
        remember(self.mine, request.id, None, self.remembered_max)
        return super().opened(request)

    def weight(self, request: Request, vote: Vote) -> float:
        """Returns the share of trust of the vote's member, 0..1; 0 for one that is no member."""
        return self.shares().get(self.panel.member_of(vote.member), 0.0)

    def shares(self) -> dict[str, float]:
        """Returns the share of trust of each member, summing to 1."""
        self.trust.keep(self.panel.members())
        return self.trust.shares()

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Learns from feedback on requests of this app; posts no events."""
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
