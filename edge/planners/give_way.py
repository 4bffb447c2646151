"""Lowers the share of background work while frames are late, by additive increase and multiplicative decrease."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from edge.core.events import Event, Planned, Reply, Time
from edge.core.interfaces import Moment
from edge.plugins import About

MISSED = ("late", "superseded")


@dataclass
class GiveWay:
    """Halves the share of background work if too many answers were missed in the last period, else raises it a little.

    An answer counts as missed if it was late or superseded. Chiu and Jain, Computer Networks and ISDN Systems 1989.

    `missed_max`: share of missed answers above which the share is halved, 0..1.
    `least`: smallest share.
    `most`: largest share.
    `step`: increment of the share.
    `period_s`: seconds between two changes.
    """

    missed_max: float = 0.01
    least: float = 0.05
    most: float = 0.5
    step: float = 0.05
    period_s: float = 2.0

    about: ClassVar[About] = About(
        paper="Chiu and Jain, Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer"
        " Networks, Computer Networks and ISDN Systems 1989",
        sources={
            "missed_max": "ours: one frame in a hundred, the share that a 99 % attainment allows",
            "least": "ours: an audit of a drifting model must not take for ever",
            "most": "ours: half of the device, as in `background.share`",
            "step": "ours: nine periods from least to most",
            "period_s": "ours: some tens of frames of one camera",
        },
        deviations=("the paper shares a link among users; here one share yields to deadlines",),
    )

    def __post_init__(self) -> None:
        self.answers = self.missed = 0
        self.looked_ns: Time | None = None

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Counts answers and yields a plan with another share after each period, if it changes."""
        self._count(moment)
        if self.looked_ns is None:
            self.looked_ns = moment.now
        if moment.now - self.looked_ns < self.period_s * 1e9:
            return
        share = self._next(moment.state.plan.background)
        self.looked_ns, self.answers, self.missed = moment.now, 0, 0
        if share != moment.state.plan.background:
            yield Planned(replace(moment.state.plan, background=share))

    def _count(self, moment: Moment) -> None:
        for action in moment.actions:
            if isinstance(action, Reply):
                self.answers += 1
                self.missed += action.outcome in MISSED

    def _next(self, share: float) -> float:
        if self.missed > self.missed_max * self.answers:
            return max(self.least, share / 2)
        return min(self.most, share + self.step)
