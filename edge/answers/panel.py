"""Who may be asked: models, or variants of one model, by the names under which `Feedback` speaks of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from edge.core.events import LaneDown, LaneUp, Loaded, LoadFailed, Served
from edge.core.interfaces import Moment, Opening
from edge.core.state import State
from porting.variant import Variant

Kept = TypeVar("Kept")
CHANGES = (Served, Loaded, LoadFailed, LaneUp, LaneDown)  # after which other variants may be on offer


@dataclass
class Panel:
    """`named`: "model" or "model/variant" each. Where nobody is named, every variant that `model` has on offer; until
    the first moment was seen, the one that serves.
    """

    model: str = ""
    named: tuple[str, ...] = ()
    offered: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        self.named = tuple(self.named)
        if not self.model and not self.named:
            raise ValueError("nobody to ask: give `model`, or `members` as a list of model/variant")
        if len(set(self.named)) < len(self.named):
            raise ValueError(f"members: {', '.join(self.named)} names one twice")

    def members(self) -> tuple[str, ...]:
        return self.named or self.offered or (self.model,)

    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model_of(member) for member in self.named or (self.model,)))

    def member_of(self, said: str) -> str:
        """Which member "model/variant" is; itself, where it is none."""
        return model_of(said) if model_of(said) in self.named else said

    def look(self, moment: Moment) -> bool:
        """Call it with every moment. True: there may be others now."""
        if not isinstance(moment.event, CHANGES):
            return False
        self.offered = tuple(f"{self.model}/{variant.name}" for variant in on_offer(moment.state, self.model))
        return True


def on_offer(state: State, model: str) -> list[Variant]:
    """What serves, and what stands beside it; not what is still being loaded to serve, nor what no lane can take."""
    known = state.models.get(model)
    if known is None or known.serving is None:
        return []
    out = {known.serving.name, known.pending.name if known.pending is not None else ""}
    others = [variant for name, variant in known.variants.items() if name not in out]
    return [known.serving, *(other for other in others if not state.impossible.keys() & set(other.stages))]


def variant_of(state: State, member: str) -> Variant | None:
    """What a member's name stands for now; the one that serves, where it names none."""
    model, _, name = member.partition("/")
    return next((variant for variant in on_offer(state, model) if name in ("", variant.name)), None)


def model_of(member: str) -> str:
    return member.partition("/")[0]


def opening(member: str, item: int = 0) -> Opening:
    model, _, variant = member.partition("/")
    return Opening(model, item=item, variant=variant)


def loss_of(losses: Mapping[str, float], member: str) -> float | None:
    """The member's own; else, where it or the feedback names no variant, that of its model. None: nothing was said."""
    if member in losses:
        return losses[member]
    model, _, variant = member.partition("/")
    if variant:
        return losses.get(model)
    return next((loss for name, loss in losses.items() if model_of(name) == model), None)


def remember(kept: dict[int, Kept], request_id: int, what: Kept, most: int) -> None:
    """Until it is asked for, or `most` others came."""
    kept[request_id] = what
    if len(kept) > most:
        del kept[next(iter(kept))]
