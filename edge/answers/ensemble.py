"""Implements the ensemble: several models vote on every frame, and an incomplete answer beats a late one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from edge.answers.combining import EnsembleVerdict, Vote
from edge.answers.panel import Panel, opening
from edge.answers.voting import Means, agreeing, elected, surest
from edge.core.events import Event, Request, StepResult, Task
from edge.core.interfaces import Moment, Opening, Progress
from edge.core.state import OpenRequest
from edge.plugins import About

SOURCES = {
    "model": "the app's",
    "members": "the app's: Clipper asks all models of an application",
    "sure_min": "0: every answer is given, as where no application default is set",
    "default": "the app's",
    "scores": "votes, as Clipper's confidence counts them",
}


@dataclass
class Ensemble:
    """Combines the votes of `members` into one label.

    The request is answered when all members are done, or with the votes so far when the policy reports it as late
    (`edge.policies.wrappers.straggler_mitigation`). The confidence is the share of all asked members that agree with
    the answer, so every missing member lowers it.

    `model`: name of the model whose variants vote where `members` is empty.
    `members`: models, or variants as "model/variant"; empty: every variant on offer of `model`.
    `sure_min`: confidence below which the answer is `default`, 0..1.
    `default`: label of an answer that is not confident enough; empty: no label.
    `scores`: average the members' scores instead of counting votes; the running mean of a member stands in for it when
        it is missing.
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
            "members that failed or can no longer be in time are not waited for until the deadline",
            "a tie in the number of votes is broken by the voters' scores",
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
        """Returns the members that are to vote on this request."""
        return self.panel.members()

    def opened(self, request: Request) -> Sequence[Opening]:
        return [opening(member, item) for item, member in enumerate(self.asked(request))]

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        """Answers the request when none of its tasks is unfinished."""
        return Progress(answered=not opened.unfinished)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        """Returns the tasks that have finished, in the order opened: any of them make an answer."""
        return [task_id for task_id in opened.tasks if task_id in opened.finished]

    def combine(self, request: Request, votes: Sequence[Vote]) -> EnsembleVerdict:
        """Returns the elected label, or `default` below `sure_min`, and the share of asked members that agree."""
        label = self._elected(request, votes)
        confidence = agreeing(votes, label) / max(len(votes), len(self.asked(request)))
        return EnsembleVerdict(label if confidence >= self.sure_min else self.default, confidence)

    def weight(self, request: Request, vote: Vote) -> float:
        """Returns how much this vote counts; 1 for all here."""
        return 1.0

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Follows which variants are on offer; posts no events."""
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
