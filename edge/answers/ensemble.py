"""Several models look at every frame, and what most of them say is the answer: late is worse than incomplete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from edge.answers.panel import Panel, opening
from edge.answers.voting import Means, agreeing, elected, surest
from edge.core.events import Event, Request, StepResult, Task
from edge.core.interfaces import About, EnsembleVerdict, Moment, Opening, Progress, Vote
from edge.core.state import OpenRequest

SOURCES = {
    "model": "the app's",
    "members": "the app's: Clipper asks all models of an application",
    "sure_min": "0: every answer is given, as where no application default is set",
    "default": "the app's",
    "scores": "votes, as Clipper's confidence counts them",
}


@dataclass
class Ensemble:
    """`members`: models or "model/variant"; none: every variant on offer of `model`.

    Answered when all are in, or with those that are in when the policy says that the rest is late
    (`edge.policies.wrappers.straggler_mitigation`). Confidence is the share of all members that agree with the answer,
    so it falls with each that does not come. Below `sure_min` the answer is the label `default`; empty: none.
    `scores`: the members' scores are averaged instead of their votes counted, and the running mean of one that did not
    come stands in for it.
    """

    model: str = ""
    members: tuple[str, ...] = ()
    sure_min: float = 0.0
    default: str = ""
    scores: bool = False

    about: ClassVar[About] = About(
        paper="Clipper (Crankshaw et al., NSDI 2017, section 5.2)",
        sources=SOURCES,
        deviations=(
            "who failed, or cannot make it any more, is not waited for until the deadline",
            "whom an equal number of members backs is told by their scores",
        ),
        needs=frozenset({"ensemble"}),
    )

    def __post_init__(self) -> None:
        self.panel = Panel(self.model, self.members)
        self.members = self.panel.named
        self.means = Means()

    def models(self) -> tuple[str, ...]:
        return self.panel.models()

    def asked(self, request: Request) -> tuple[str, ...]:
        """Who is to look at this request."""
        return self.panel.members()

    def opened(self, request: Request) -> Sequence[Opening]:
        return [opening(member, item) for item, member in enumerate(self.asked(request))]

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(answered=not opened.unfinished)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        return [task_id for task_id in opened.tasks if task_id in opened.finished]

    def combine(self, request: Request, votes: Sequence[Vote]) -> EnsembleVerdict:
        label = self._elected(request, votes)
        confidence = agreeing(votes, label) / max(len(votes), len(self.asked(request)))
        return EnsembleVerdict(label if confidence >= self.sure_min else self.default, confidence)

    def weight(self, request: Request, vote: Vote) -> float:
        """How much this vote counts."""
        return 1.0

    def observe(self, moment: Moment) -> Iterator[Event]:
        if self.panel.look(moment):
            self.means.keep(self.panel.members())
        yield from ()

    def _elected(self, request: Request, votes: Sequence[Vote]) -> str:
        if not self.scores:
            return elected(votes, lambda vote: self.weight(request, vote))
        named = [replace(vote, member=self.panel.member_of(vote.member)) for vote in votes]
        self.means.learn(named)
        absent = [member for member in self.asked(request) if member not in {vote.member for vote in named}]
        stand_ins = filter(None, map(self.means.stand_in, absent))
        return surest([*named, *stand_ins], lambda vote: self.weight(request, vote))
