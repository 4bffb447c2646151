"""Implements Exp3: each request goes to one of several models, drawn by how well each has done so far."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from edge.answers.hashing import hash_uniform
from edge.answers.panel import Panel, loss_of, opening, remember
from edge.answers.trust import Trust
from edge.core.events import Event, Feedback, Reply, Request, StepResult, Task
from edge.core.interfaces import Moment, Opening, Progress
from edge.core.state import OpenRequest
from edge.plugins import About

STREAMS_MAX = 256  # streams with trust of their own, to bound memory; streams beyond that share one


class MemberDraw(NamedTuple):
    """Holds the member that was drawn for a request, until its feedback comes."""

    context: str
    member: str
    chance: float  # of being drawn, when it was drawn: its loss is divided by this, whatever the weights are by then


@dataclass
class Exp3:
    """Draws one member for each request and learns from `Feedback` which members to draw more often.

    `model`: name of the model whose variants are drawn where `members` is empty.
    `members`: models, or variants as "model/variant"; empty: every variant on offer of `model`.
    `rate`: learning rate: how much one loss changes a member's trust.
    `share`: part of all trust that is divided equally after each loss, 0..1, so that a member that was bad before a
        drift can come back.
    `late_loss`: loss of a member whose request was dropped as late, 0..1; 0: late drops teach nothing.
    `per_stream`: learn for each camera separately.
    `seed`: seed of the draws.
    `remembered_max`: draws remembered until their feedback comes; the oldest is forgotten first.
    """

    model: str = ""
    members: tuple[str, ...] = ()
    rate: float = 0.05
    share: float = 0.0005
    late_loss: float = 0.0
    per_stream: bool = False
    seed: int = 0
    remembered_max: int = 4096

    about: ClassVar[About] = About(
        paper="Exp3 (Auer et al., SIAM J. Computing 2002) as in Clipper (Crankshaw et al., NSDI 2017, section 5)",
        sources={
            "model": "the app's",
            "members": "the app's: Clipper asks all models of an application",
            "rate": "ours: between 0.01 and 0.1, which is usual where the number of requests is not known",
            "share": "fixed share (Herbster and Warmuth, Machine Learning 1998): ours, one drift in 2,000 labels",
            "late_loss": "0 as in Clipper, where only feedback counts",
            "per_stream": "Clipper keeps one state for each context",
            "seed": "ours: draws are a hash of seed and request",
            "remembered_max": "ours: a bound on memory",
        },
        deviations=(
            "part of the trust is redistributed (fixed share): the paper's arms never come back after a drift",
            "the released code adds exp(-loss) to a weight, which can only grow; here it multiplies the weight",
            "a loss is divided by the probability at the time of the draw, which is kept with the request",
        ),
        needs=frozenset({"variants", "labels"}),
    )

    def __post_init__(self) -> None:
        self.panel = Panel(self.model, self.members)
        self.members = self.panel.named
        self.trust: dict[str, Trust] = {}
        self.drawn: dict[int, MemberDraw] = {}

    def models(self) -> tuple[str, ...]:
        return self.panel.models()

    def opened(self, request: Request) -> Sequence[Opening]:
        """Draws one member by its share of trust and opens a task for it."""
        context = self._context(request)
        drawn = draw(self._trusted(context).shares(), hash_uniform(self.seed, "exp3", request.id))
        remember(self.drawn, request.id, MemberDraw(context, *drawn), self.remembered_max)
        return (opening(drawn[0]),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(answered=True)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        return ()

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Learns from feedback and, with `late_loss`, from late drops; posts no events."""
        self.panel.look(moment)
        if isinstance(moment.event, Feedback) and (drawn := self.drawn.pop(moment.event.request_id, None)):
            loss = loss_of(moment.event.losses, drawn.member)
            if loss is not None:
                self._learn(drawn, loss)
        for action in moment.actions:
            if isinstance(action, Reply) and action.outcome != "ok":
                self._dropped(action)
        yield from ()

    def shares(self, stream: str = "") -> dict[str, float]:
        """Returns the current probability of each member, 0..1; with `per_stream`, those of `stream`."""
        return self._trusted(stream if self.per_stream else "").shares()

    def _dropped(self, reply: Reply) -> None:
        drawn = self.drawn.pop(reply.request_id, None)
        if drawn is not None and reply.outcome == "late" and self.late_loss:
            self._learn(drawn, self.late_loss)

    def _learn(self, drawn: MemberDraw, loss: float) -> None:
        trust = self._trusted(drawn.context)
        if drawn.member in trust.logs:  # otherwise it was taken out of service meanwhile
            trust.punish(dict.fromkeys(trust.logs, 0.0) | {drawn.member: loss / drawn.chance}, self.rate)
            trust.mix(self.share)

    def _context(self, request: Request) -> str:
        known = request.stream in self.trust or len(self.trust) < STREAMS_MAX
        return request.stream if self.per_stream and known else ""

    def _trusted(self, context: str) -> Trust:
        trust = self.trust.setdefault(context, Trust())
        trust.keep(self.panel.members())
        return trust


def draw(shares: dict[str, float], at: float) -> tuple[str, float]:
    """Returns the member whose part of [0, 1) contains the point `at`, and the size of that part.

    `shares`: probability of each member; not empty, summing to 1.
    """
    upto = 0.0
    for name, share in shares.items():
        upto += share
        if at < upto:
            return name, share
    return name, share  # rounding: the shares sum to a little less than 1
