"""One model, one task, one answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Request
from edge.core.interfaces import About, ModelAlone, Opening


@dataclass(frozen=True)
class Single(ModelAlone):
    """The answer is what `model` says of the frame. `variant`: which one of it; empty: the one that serves."""

    variant: str = ""

    about: ClassVar[About] = About(
        paper="ours: the plain case", sources={"model": "the app's", "variant": "ours: whatever serves"}
    )

    def opened(self, request: Request) -> Sequence[Opening]:
        return (Opening(self.model, variant=self.variant),)
