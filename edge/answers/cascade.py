"""Implements the cascade: a detector, then one classifier task per detected item, with one deadline and one answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.core.events import Request, StepResult, Task
from edge.core.interfaces import Opening, Progress
from edge.core.state import OpenRequest
from edge.plugins import About


@dataclass(frozen=True)
class Cascade:
    """Opens one detector task per frame, and then a task of model `classify[k]` for every detected item of kind k.

    Items of kinds that `classify` does not name open no task. Items are numbered over all detections, kind after kind
    in the order of `StepResult.children`, so a number also counts items that open no task.

    `detect`: name of the detector model.
    `classify`: kind of item -> name of the model that classifies it.
    `items_max`: largest number of items of each kind that are classified, so that one crowded frame cannot take the
        time of all others.
    """

    detect: str
    classify: Mapping[str, str] = field(default_factory=dict)  # kind of item -> model
    items_max: int = 16

    about: ClassVar[About] = About(
        paper="Shen et al., Nexus, SOSP 2019: the traffic application; AdaInf (Shubha and Shen, SIGCOMM 2023)",
        sources={
            "detect": "the app's",
            "classify": "the app's",
            "items_max": "ours: two batches of eight",
        },
        deviations=("the cascade has one deadline; a planner may divide it among the models, as Nexus does",),
    )

    def models(self) -> tuple[str, ...]:
        """Returns the detector and every classifier."""
        return (self.detect, *self.classify.values())

    def opened(self, request: Request) -> Sequence[Opening]:
        return (Opening(self.detect),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        """Opens the classifier tasks when the detector ends; answers the request when no task is unfinished."""
        if task.parent is None and (openings := self._children(task, result)):
            return Progress(openings=openings)
        return Progress(answered=not opened.unfinished)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        """Returns nothing: a cascade has no answer while part of it is missing."""
        return ()

    def _children(self, task: Task, result: StepResult) -> list[Opening]:
        openings, first = [], 0
        for kind, count in result.children.items():
            if kind in self.classify:
                items = range(first, first + min(count, self.items_max))
                openings += [Opening(self.classify[kind], task.id, item) for item in items]
            first += count
        return openings
