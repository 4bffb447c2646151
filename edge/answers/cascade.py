"""A detector, then a classifier for each thing it found; one answer, one deadline for all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Request, StepResult, Task
from edge.core.interfaces import About, Opening, Progress
from edge.core.state import OpenRequest


@dataclass(frozen=True)
class Cascade:
    """Items of kind k go to the model `classify[k]`; other kinds to none. An item's number counts all that were found,
    kind after kind in the order of `StepResult.children`.

    `items_max` bounds the items of each kind, so that one crowded frame cannot take the time of all others.
    """

    detect: str
    classify: Mapping[str, str] = field(default_factory=dict)  # kind of item -> model
    items_max: int = 16

    about: ClassVar[About] = About(
        paper="Shen et al., Nexus, SOSP 2019: the traffic application; AdaInf (Shubha and Shen, SIGCOMM 2023)",
        sources={
            "detect": "the app's",
            "classify": "the app's",
            "items_max": "ours: what two batches of eight hold",
        },
        deviations=("one deadline for all of it; a planner may divide it among the models, as Nexus does",),
    )

    def models(self) -> tuple[str, ...]:
        return (self.detect, *self.classify.values())

    def opened(self, request: Request) -> Sequence[Opening]:
        return (Opening(self.detect),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        if task.parent is None and (openings := self._children(task, result)):
            return Progress(openings=openings)
        return Progress(answered=not opened.unfinished)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        return ()

    def _children(self, task: Task, result: StepResult) -> list[Opening]:
        openings, first = [], 0
        for kind, count in result.children.items():
            if kind in self.classify:
                items = range(first, first + min(count, self.items_max))
                openings += [Opening(self.classify[kind], task.id, item) for item in items]
            first += count
        return openings
