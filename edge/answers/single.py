"""One model, one task, one answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edge.core.events import Request, StepResult, Task
from edge.core.interfaces import About, Opening, Progress
from edge.core.state import OpenRequest


@dataclass(frozen=True)
class Single:
    """The answer is what `model` says of the frame. `variant`: which one of it; empty: the one that serves."""

    model: str
    variant: str = ""

    about: ClassVar[About] = About(
        paper="ours: the plain case", sources={"model": "the app's", "variant": "ours: whatever serves"}
    )

    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def opened(self, request: Request) -> Sequence[Opening]:
        return (Opening(self.model, variant=self.variant),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(answered=(opened.request.id,))

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        return ()
