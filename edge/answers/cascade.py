"""A detector, then a classifier for each thing it found; one answer, one deadline for all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.events import Request, StepResult, Task
from edge.protocols import Opening, Progress
from edge.state import Open


@dataclass(frozen=True)
class Cascade:
    """Items of kind k go to the model `classify[k]`, numbered from 0 within their kind; other kinds to none.

    `items_max` bounds the items of each kind, so that one crowded frame cannot take the time of all others.
    """

    detect: str
    classify: Mapping[str, str] = field(default_factory=dict)  # kind of item -> model
    items_max: int = 16

    def opened(self, request: Request) -> Sequence[Opening]:
        return (Opening(self.detect),)

    def finished(self, opened: Open, task: Task, result: StepResult) -> Progress:
        if task.parent is None and (openings := self._children(task, result)):
            return Progress(openings=openings)
        return Progress(answered=() if opened.unfinished else (opened.request.id,))

    def _children(self, task: Task, result: StepResult) -> list[Opening]:
        return [
            Opening(model, task.id, item)
            for kind, model in self.classify.items()
            for item in range(min(result.children.get(kind, 0), self.items_max))
        ]
