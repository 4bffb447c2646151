"""Defines what plug-ins of the core have to offer. Nothing is inherited: a class with these methods is one.

A policy, an answer rule or an estimator that is an `Observer` as well sees every moment: that is how it learns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from edge.core.events import Action, Event, Request, StepResult, Task, Time
from edge.core.state import OpenRequest, State


class Policy(Protocol):
    """Decides what a lane does next. Reads the state and never writes it."""

    def order(self, task: Task) -> tuple[Any, ...]:
        """Returns a task's place in its stage's queue: smaller goes first, ties go by task id."""

    def decide(self, state: State, now: Time) -> Action | None:
        """Returns the next action; `None` when there is nothing to do until the next event. Called until it says so."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Describes a task to be opened: one model's work on one item of the parent's result, or on the frame itself."""

    model: str
    parent: int | None = None
    item: int = 0
    variant: str = ""  # empty: the one that serves


@dataclass(frozen=True, slots=True)
class Progress:
    """Tells what a finished task leads to: more tasks of its request, or its answer."""

    openings: Sequence[Opening] = ()
    answered: bool = False


class AnswerRule(Protocol):
    """Decides which tasks a request opens, and when it is answered. The core keeps an `OpenRequest` for it."""

    def models(self) -> Sequence[str]:
        """Returns every model that it may open a task for: what the daemon loads and watches."""

    def opened(self, request: Request) -> Sequence[Opening]:
        """Returns the tasks that a request begins with; at least one."""

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        """Returns what follows; `opened.unfinished` counts the tasks still open, `task` no longer among them."""

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        """Returns which of `opened.finished` make an answer where the rest is late or lost; empty: none without it.

        It is also asked what would be if all that is still possible came: that decides whether to wait for it.
        """


@dataclass(frozen=True)
class ModelAlone:
    """Answers a request that names a model instead of an app: with one task, whose end is the answer."""

    model: str

    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def opened(self, request: Request) -> Sequence[Opening]:
        return (Opening(self.model),)

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        return Progress(answered=True)

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        return ()


@dataclass(frozen=True, slots=True)
class Moment:
    """Holds one turn of the loop: what happened, what was ordered, and the state after it, to read in this turn."""

    now: Time
    event: Event
    actions: Sequence[Action]
    state: State


@runtime_checkable
class Observer(Protocol):
    """Sees every moment; may post events."""

    def observe(self, moment: Moment) -> Iterable[Event]: ...


class World(Protocol):
    """Brings events and carries out actions: by threads and a clock, or by a heap and a seed."""

    def listen(self) -> tuple[Time, Event] | None:
        """Waits for the next event; `None` ends the run. Times never go backwards."""

    def do(self, action: Action) -> None:
        """Begins what is ordered, and returns at once."""

    def post(self, event: Event) -> None:
        """Queues an event of ours, to be heard soon."""
