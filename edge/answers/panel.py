"""Resolves the names of members, which are models or variants of one model, as `Feedback` uses them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from edge.core.events import LaneDown, LaneUp, Loaded, LoadFailed, Served
from edge.core.interfaces import Moment, Opening
from edge.core.state import State
from porting.variant import Variant

Kept = TypeVar("Kept")
CHANGES = (Served, Loaded, LoadFailed, LaneUp, LaneDown)  # events that may change which variants are on offer


@dataclass
class Panel:
    """Holds the members of an answer rule.

    `model`: the model whose variants on offer are the members, where `named` is empty. Until the first moment was seen,
        the serving variant is the only member.
    `named`: the members by name, "model" or "model/variant" each. Raises `ValueError` for a name that comes twice, and
        if both options are empty.
    """

    model: str = ""
    named: tuple[str, ...] = ()
    offered: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        self.named = tuple(self.named)
        if not self.model and not self.named:
            raise ValueError("no model to ask: give `model`, or `members` as a list of model/variant")
        if len(set(self.named)) < len(self.named):
            raise ValueError(f"members: {', '.join(self.named)} names one twice")

    def members(self) -> tuple[str, ...]:
        """Returns the names of all current members; never empty."""
        return self.named or self.offered or (self.model,)

    def models(self) -> tuple[str, ...]:
        """Returns the models of the members, each once."""
        return tuple(dict.fromkeys(model_of(member) for member in self.named or (self.model,)))

    def member_of(self, said: str) -> str:
        """Returns the member that "model/variant" belongs to, or `said` itself if it belongs to none."""
        return model_of(said) if model_of(said) in self.named else said

    def look(self, moment: Moment) -> bool:
        """Returns whether the variants on offer may have changed; to be called with every moment, once."""
        if not isinstance(moment.event, CHANGES):
            return False
        self.offered = tuple(f"{self.model}/{variant.name}" for variant in on_offer(moment.state, self.model))
        return True


def on_offer(state: State, model: str) -> list[Variant]:
    """Returns the variants of a model that may run, the serving one first; empty for a model that is not served.

    Leaves out a variant that is still being loaded in order to serve, and those with a stage that no lane can take.
    """
    known = state.models.get(model)
    if known is None or known.serving is None:
        return []
    out = {known.serving.name, known.pending.name if known.pending is not None else ""}
    others = [variant for name, variant in known.variants.items() if name not in out]
    return [known.serving, *(other for other in others if not state.impossible.keys() & set(other.stages))]


def variant_of(state: State, member: str) -> Variant | None:
    """Returns the variant that a member's name stands for, by default the serving one; None if not on offer."""
    model, _, name = member.partition("/")
    return next((variant for variant in on_offer(state, model) if name in ("", variant.name)), None)


def model_of(member: str) -> str:
    """Returns the model in "model" or "model/variant"."""
    return member.partition("/")[0]


def opening(member: str, item: int = 0) -> Opening:
    """Returns the opening of a task for a member; `item` numbers the member within the request."""
    model, _, variant = member.partition("/")
    return Opening(model, item=item, variant=variant)


def loss_of(losses: Mapping[str, float], member: str) -> float | None:
    """Returns the loss of a member, 0 (right) to 1 (wrong), or None if the feedback does not mention it.

    Where either the member or the feedback names no variant, the loss of the model counts.
    """
    if member in losses:
        return losses[member]
    model, _, variant = member.partition("/")
    if variant:
        return losses.get(model)
    return next((loss for name, loss in losses.items() if model_of(name) == model), None)


def remember(kept: dict[int, Kept], request_id: int, what: Kept, most: int) -> None:
    """Keeps `what` for a request, and forgets the oldest entry when there are more than `most`."""
    kept[request_id] = what
    if len(kept) > most:
        del kept[next(iter(kept))]
