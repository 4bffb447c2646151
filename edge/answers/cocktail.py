"""Implements Cocktail's ensemble of varying size: members leave while it is accurate enough and come back when not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from edge.answers.combining import Vote
from edge.answers.ensemble import SOURCES, Ensemble
from edge.answers.panel import loss_of, opening, remember, variant_of
from edge.core.events import Combined, Event, Feedback, Reply, Request, Time
from edge.core.interfaces import Moment, Opening
from edge.core.state import State
from edge.plugins import About
from porting.variant import Variant

# Share of the members' votes that may be late while a member is added: above it the box has no time for one more.
LATE_FEW = 0.05


class MemberPrior(NamedTuple):
    """Holds what is known of a member from its profile alone, before it has answered anything."""

    accuracy: float
    duration_ns: Time  # of a batch of one on the quickest lane


@dataclass
class AgreementWindow:
    """Counts what happened since the membership was last adapted."""

    answers: int = 0
    agreement: float = 0.0  # sum of confidences
    majorities: Counter[int] = field(default_factory=Counter)  # votes for the most frequent label -> how often
    agreed: Counter[str] = field(default_factory=Counter)  # member -> answers that it voted for
    labelled: int = 0  # answers that feedback came for
    right: int = 0  # labelled answers that were right
    correct: Counter[str] = field(default_factory=Counter)  # member -> labelled answers in which it was right
    asked: Counter[str] = field(default_factory=Counter)  # member -> answers for which it was asked
    late: Counter[str] = field(default_factory=Counter)  # member -> answers that went out without its vote


@dataclass
class Cocktail(Ensemble):
    """Starts with every member that is quick enough for the request and adapts the set after every `interval` answers.

    If the accuracy is at least `target + margin`, the members beyond the majority that is usually reached leave, the
    least correct first. If it is at most `target - margin`, the most accurate member that was left out comes back. The
    accuracy is that of the answers for which `Feedback` came or, with fewer than `labels_min` of those, the mean share
    of members that agree with the answer.

    A vote weighs as much as its member is usually right when it votes for that label: the profiled accuracy counts for
    `prior` answers, and feedback is added to that; `fade` of the feedback's counts is kept from one interval to the
    next.

    A member whose vote was missing from more than `late_max` of the answers it was asked for leaves first, whatever the
    accuracy; and no member comes back while more than 5 % of the votes are late.

    `target`: accuracy to reach, 0..1.
    `margin`: half the width of the band around `target` in which nothing changes.
    `interval`: answers between two adaptations.
    `labels_min`: labelled answers of an interval below which agreement is used instead of accuracy.
    `prior`: answers that the profiled accuracy counts for in a vote's weight.
    `fade`: share of the counts from feedback that is kept at each adaptation, 0..1.
    `late_max`: share of late answers above which a member leaves, 0..1.
    `remembered_max`: requests remembered until their answer or feedback comes; the oldest is forgotten first.
    """

    target: float = 0.9
    margin: float = 0.02
    interval: int = 100
    labels_min: int = 20
    prior: float = 20.0
    fade: float = 0.8
    late_max: float = 0.5
    remembered_max: int = 4096

    about: ClassVar[About] = About(
        paper="Cocktail (Gunasekaran et al., NSDI 2022, sections 4 and 5)",
        sources={
            **SOURCES,
            "target": "the app's",
            "margin": "its released code",
            "interval": "ours: its code counts samples as well, but the number is the workload's",
            "labels_min": "ours: below that an accuracy is a guess",
            "prior": "ours: the paper begins with the profiled accuracy but does not say for how long",
            "fade": "ours: drift makes old counts wrong; half of them are gone after three intervals",
            "late_max": "ours: the member is late more often than not",
            "remembered_max": "ours: a bound on memory",
        },
        deviations=(
            "weights are shares, not counts: a member that just came back has few counts, however good it is",
            "a member whose own duration exceeds the deadline is never asked; the code allows 10 ms more",
            "of several majorities that were reached equally often the smallest is used; the code gets a list",
            "without labels the agreement of the members takes the place of accuracy",
            "late members leave: the paper rents more machines, but on one box a late member only costs time",
            "virtual machines, spot prices and the load forecast are left out",
        ),
        needs=frozenset({"ensemble"}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.known: dict[str, MemberPrior] = {}
        self.active: tuple[str, ...] = ()
        self.agreement = 1.0  # mean over the last interval: needs no labels, and falls when the data drift
        self.window = AgreementWindow()
        self.of_request: dict[int, tuple[str, ...]] = {}  # open request -> members that were asked
        self.said: dict[int, tuple[str, Mapping[str, str]]] = {}  # no feedback yet: answer, member -> vote
        self.right: dict[tuple[str, str], float] = {}  # (member, label) -> correct votes for that label, faded
        self.times: dict[tuple[str, str], float] = {}  # (member, label) -> labelled votes for that label, faded

    # ---- which members are asked -----------------------------------------------------------------------------------

    def asked(self, request: Request) -> tuple[str, ...]:
        """Returns the members that were asked for this open request, or would be asked now if it is not known."""
        return self.of_request.get(request.id) or self._quick_enough(request)

    def opened(self, request: Request) -> Sequence[Opening]:
        """Opens one task for each active member that alone fits into the request's time."""
        members = self._quick_enough(request)
        remember(self.of_request, request.id, members, self.remembered_max)
        return [opening(member, item) for item, member in enumerate(members)]

    def _quick_enough(self, request: Request) -> tuple[str, ...]:
        members = self.active or self.panel.members()
        if request.deadline_ns is None or not self.known:
            return members
        slo_ns = request.deadline_ns - request.arrived_ns
        quick = tuple(member for member in members if member in self.known and self.known[member].duration_ns <= slo_ns)
        return quick or (self._quickest(self.known),)

    def _quickest(self, members: Iterable[str]) -> str:
        return min(members, key=lambda member: (self.known[member].duration_ns, member))

    def weight(self, request: Request, vote: Vote) -> float:
        """Returns the estimated probability that the member is right when it votes for this label, 0..1."""
        member = self.panel.member_of(vote.member)
        at = (member, vote.label)
        accuracy = self.known[member].accuracy if member in self.known else 0.5
        return (self.right.get(at, 0.0) + self.prior * accuracy) / (self.times.get(at, 0.0) + self.prior)

    # ---- learning --------------------------------------------------------------------------------------------------

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Counts votes, learns from feedback and follows which variants are on offer; posts no events."""
        if self.panel.look(moment):
            self._look(moment.state)
        match moment.event:
            case Combined(request_id, label, confidence, votes) if request_id in self.of_request:
                self._count(request_id, label, confidence, {self.panel.member_of(m): said for m, said in votes.items()})
            case Feedback(request_id, losses) if request_id in self.said:
                self._learn(*self.said.pop(request_id), losses)
        for action in moment.actions:
            if isinstance(action, Reply) and action.outcome != "ok":
                self.of_request.pop(action.request_id, None)
        yield from ()

    def _look(self, state: State) -> None:
        """Takes over the variants on offer: new members become active, members that are gone leave."""
        self.means.keep(self.panel.members())
        variants = {member: variant_of(state, member) for member in self.panel.members()}
        before, self.known = self.known, {m: known_of(state, v) for m, v in variants.items() if v is not None}
        self.active = tuple(m for m in self.known if m in self.active or m not in before)
        for counts in (self.right, self.times):
            for at in [at for at in counts if at[0] not in self.known]:
                del counts[at]

    def _count(self, request_id: int, label: str, confidence: float, votes: Mapping[str, str]) -> None:
        """Counts one combined answer, and adapts the membership when the interval is full."""
        window, asked = self.window, self.of_request.pop(request_id)
        window.asked.update(asked)
        window.late.update(member for member in asked if member not in votes)
        window.answers += 1
        window.agreement += confidence
        window.majorities[max(Counter(votes.values()).values())] += 1
        window.agreed.update(member for member, said in votes.items() if said == label)
        remember(self.said, request_id, (label, votes), self.remembered_max)
        if window.answers >= self.interval:
            self._adapt()

    def _learn(self, label: str, votes: Mapping[str, str], losses: Mapping[str, float]) -> None:
        """Counts feedback on one answer, which was right if any member that voted for it was right (loss below 0.5)."""
        window = self.window
        told = {member: loss_of(losses, member) for member in votes}
        right = [member for member, loss in told.items() if loss is not None and loss < 0.5]
        window.labelled += 1
        window.right += any(votes[member] == label for member in right)
        window.correct.update(right)
        for member in (member for member, loss in told.items() if loss is not None and member in self.known):
            at = (member, votes[member])
            self.times[at] = self.times.get(at, 0.0) + 1
            self.right[at] = self.right.get(at, 0.0) + (member in right)

    def _adapt(self) -> None:
        """Removes late or superfluous members or brings one back, then starts the next interval."""
        window, self.window = self.window, AgreementWindow()
        self.agreement = window.agreement / window.answers
        told = window.labelled >= self.labels_min  # below that an accuracy is a guess: go by agreement
        accuracy = window.right / window.labelled if told else self.agreement
        late = {member for member in self.active if window.late[member] > self.late_max * window.asked[member]}
        if late:
            self.active = tuple(m for m in self.active if m not in late) or (self._quickest(self.active),)
        elif accuracy >= self.target + self.margin:
            credit = window.correct if told else window.agreed
            worst = sorted(self.active, key=lambda member: (credit[member], self.known[member].accuracy, member))
            gone = worst[: min(excess(window.majorities, len(self.active)), len(self.active) - 1)]
            self.active = tuple(member for member in self.active if member not in gone)
        elif accuracy <= self.target - self.margin and window.late.total() <= LATE_FEW * window.asked.total():
            left_out = (member for member in self.known if member not in self.active)
            best = max(left_out, key=lambda member: (self.known[member].accuracy, member), default=None)
            self.active = tuple(member for member in self.known if member in self.active or member == best)
        for counts in (self.right, self.times):
            for at in counts:
                counts[at] *= self.fade


def known_of(state: State, variant: Variant) -> MemberPrior:
    """Returns the variant's accuracy (0.5 if not measured) and its duration alone on the quickest lane."""
    lanes = state.lanes.values()
    alone = [sum(state.duration_ns(digest, 1, lane) for digest in variant.stages) for lane in lanes]
    return MemberPrior(0.5 if variant.accuracy is None else variant.accuracy, min(alone, default=0))


def excess(majorities: Mapping[int, int], members: int) -> int:
    """Returns how many of `members` are superfluous: the usual majority less 51 % of the members, at least 0.

    `majorities`: number of votes for the winning label -> how often. The usual size is the most frequent one, the
        smallest of equally frequent ones.
    """
    often = max(majorities.values(), default=0)
    usual = min((votes for votes, times in majorities.items() if times == often), default=0)
    return max(0, usual - -(-51 * members // 100))
