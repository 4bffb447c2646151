"""Implements the plain rule: one model, one task, one answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Request
from edge.core.interfaces import ModelAlone, Opening
from edge.plugins import About


@dataclass(frozen=True)
class Single(ModelAlone):
    """Answers a request with the result of one model.

    `variant`: name of the variant that runs; empty: the serving one.
    """

    variant: str = ""

    about: ClassVar[About] = About(
        paper="ours: the plain case", sources={"model": "the app's", "variant": "ours: whatever serves"}
    )

    def opened(self, request: Request) -> Sequence[Opening]:
        return (Opening(self.model, variant=self.variant),)
