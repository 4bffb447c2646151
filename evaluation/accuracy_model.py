"""Simulates which answers are right, as a pure function of a seed, a request and a member, and the feedback about them.

A member is right when its skill exceeds the request's difficulty. A difficult frame is difficult for all members, so
that mistakes come together, as they do with real models. By a Gaussian copula the share of right answers equals the
stated accuracy whatever the correlation.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import NormalDist

from edge.answers.combining import Combines, EnsembleVerdict, Vote
from edge.answers.hashing import hash_uniform
from edge.core.events import Arrived, Combined, Event, Feedback, Reply, Request, Run, Time
from edge.core.interfaces import AnswerRule, Moment
from edge.core.state import State

NORMAL = NormalDist()


@dataclass(frozen=True)
class Truth:
    """Defines the true labels and how often each member is right.

    Args:
        seed: of all draws.
        accuracies: from when on (ns, ascending, from 0) -> "model/variant" -> share of right answers, 0..1; a second
            entry is a drift.
        labels: the possible labels.
        alike: correlation of the members' mistakes, 0..1.
        trap: share of mistakes that fall on the one label that this frame resembles; the others are spread.
        skew: how much a member's skill differs between labels, in standard deviations.
    """

    seed: int
    accuracies: tuple[tuple[Time, Mapping[str, float]], ...]
    labels: tuple[str, ...] = tuple("0123456789")
    alike: float = 0.5
    trap: float = 0.5
    skew: float = 0.0

    def label(self, request: Request) -> str:
        """Returns the true label of a request."""
        return self.labels[int(hash_uniform(self.seed, "label", request.id) * len(self.labels))]

    def vote(self, request: Request, member: str) -> Vote:
        """Returns this member's label and confidence; it grows with the distance between skill and difficulty."""
        label = self.label(request)
        margin = self._skill(request, member, label) - self._difficulty(request, member)
        return Vote(member, label if margin > 0 else self._mistake(request, member, label), NORMAL.cdf(abs(margin)))

    def _mistake(self, request: Request, member: str, label: str) -> str:
        wrong = [other for other in self.labels if other != label]
        traps = hash_uniform(self.seed, "falls", request.id, member) < self.trap
        drawn = (
            hash_uniform(self.seed, "trap", request.id)
            if traps
            else hash_uniform(self.seed, "wrong", request.id, member)
        )
        return wrong[int(drawn * len(wrong))]

    def accuracy(self, request: Request, member: str) -> float:
        """Returns the member's accuracy at the time that the request arrived; 0.5 when none is stated."""
        found = 0.5
        for begin_ns, accuracies in self.accuracies:
            if begin_ns <= request.arrived_ns:
                found = accuracies.get(member, found)
        return found

    def _skill(self, request: Request, member: str, label: str) -> float:
        """Returns the skill in standard deviations of difficulty; its mean over labels fits the member's accuracy."""
        skill = quantile(self.accuracy(request, member)) * sqrt(1 + self.skew**2)
        return skill + self.skew * quantile(hash_uniform(self.seed, "skill", member, label)) if self.skew else skill

    def _difficulty(self, request: Request, member: str) -> float:
        shared = quantile(hash_uniform(self.seed, "difficulty", request.id))
        own = quantile(hash_uniform(self.seed, "own", request.id, member))
        return sqrt(self.alike) * shared + sqrt(1 - self.alike) * own


def quantile(share: float) -> float:
    """Returns a quantile of the standard normal distribution; shares are clipped to 1e-9..1 - 1e-9."""
    return NORMAL.inv_cdf(min(max(share, 1e-9), 1 - 1e-9))


@dataclass(frozen=True, slots=True)
class Mark:
    """Holds one answer and whether it was right."""

    request: Request
    replied_ns: Time
    right: bool
    confidence: float
    members: tuple[str, ...]  # that it is made of

    @property
    def good(self) -> bool:
        """Returns whether the answer was right and in time."""
        return self.right and (self.request.deadline_ns is None or self.replied_ns <= self.request.deadline_ns)


@dataclass
class Examiner:
    """Observes a run: combines answers as the daemon would, keeps a `Mark` of each, and posts delayed feedback.

    `Feedback` is posted about a share `labelled` of the answers, `delay_ms` later. Answers of cascades are ignored.
    """

    truth: Truth
    answers: Mapping[str, AnswerRule]
    labelled: float = 1.0
    delay_ms: float = 100.0
    marks: list[Mark] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.requests: dict[int, Request] = {}  # not yet answered
        self.members: dict[int, dict[int, str]] = {}  # of such a request: task -> "model/variant"
        self.waiting: deque[tuple[Time, Feedback]] = deque()

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Follows requests and runs, yields the combined answer of each reply, and then the feedback that is due."""
        if isinstance(moment.event, Arrived):
            self.requests[moment.event.request.id] = moment.event.request
        for action in moment.actions:
            if isinstance(action, Run):
                self._ran(action, moment.state)
            elif isinstance(action, Reply):
                yield from self._answered(action, moment.now)
        while self.waiting and self.waiting[0][0] <= moment.now:
            yield self.waiting.popleft()[1]

    def _ran(self, run: Run, state: State) -> None:
        for task in run.tasks:
            if task.parent is None:
                name = run.variant or name_of(state, task.model, task.chain)
                self.members.setdefault(task.request, {})[task.id] = f"{task.model}/{name}"

    def _answered(self, reply: Reply, now: Time) -> Iterator[Event]:
        request, members = self.requests.pop(reply.request_id, None), self.members.pop(reply.request_id, {})
        if request is None or reply.outcome != "ok" or not all(task in members for task in reply.tasks):
            return
        votes = [self.truth.vote(request, members[task]) for task in reply.tasks]
        answer = self.answers.get(request.app)
        if isinstance(answer, Combines):
            verdict = answer.combine(request, votes)
            yield Combined(request.id, verdict.label, verdict.confidence, {vote.member: vote.label for vote in votes})
        else:
            verdict = EnsembleVerdict(votes[0].label, 1.0)
        self._mark(request, now, verdict, votes)

    def _mark(self, request: Request, now: Time, verdict: EnsembleVerdict, votes: Sequence[Vote]) -> None:
        label = self.truth.label(request)
        members = tuple(vote.member for vote in votes)
        self.marks.append(Mark(request, now, verdict.label == label, verdict.confidence, members))
        if hash_uniform(self.truth.seed, "labelled", request.id) < self.labelled:
            losses = {vote.member: float(vote.label != label) for vote in votes}
            self.waiting.append((now + round(self.delay_ms * 1e6), Feedback(request.id, losses)))


def name_of(state: State, model: str, chain: tuple[str, ...]) -> str:
    """Returns the name of the variant with this chain; empty where it was taken out of service."""
    known = state.models[model]
    variants = [*([known.serving] if known.serving else []), *known.variants.values()]
    return next((variant.name for variant in variants if variant.stages == chain), "")
