"""The shapes that plug-ins of the core have. Nothing to inherit: a class with these methods is one.

A policy, an answer or an estimator that has `observe` as well sees every moment: that is how it learns.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from edge.core.events import Action, Event, Request, StepResult, Task, Time
from edge.core.state import OpenRequest, State


@dataclass(frozen=True, slots=True)
class About:
    """Where a plug-in comes from: its class attribute `about`."""

    paper: str  # authors, venue and year; or whose idea it is
    sources: Mapping[str, str] = field(default_factory=dict)  # option -> where its default comes from
    deviations: tuple[str, ...] = ()  # what is otherwise here than in the paper, and why
    needs: frozenset[str] = frozenset()  # of NEEDS: without it there is nothing for the plug-in to do


# What a plug-in may need of a box and its work; `evaluation.requirements` tells whether a scenario has it.
NEEDS = frozenset({"variants", "lanes", "remote", "labels", "ensemble", "preemption", "memory"})


class Policy(Protocol):
    """What a lane does next. Only reads the state; called after each event until it says None."""

    def order(self, task: Task) -> tuple[Any, ...]:
        """Place of a task in its stage's queue: smaller goes first, ties go by task id. Fixed for the task's life."""

    def decide(self, state: State, now: Time) -> Action | None:
        """The next action, or None when there is nothing to do until the next event."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A task to be opened: one model's work on one item of the parent's result, or on the frame itself."""

    model: str
    parent: int | None = None
    item: int = 0
    variant: str = ""  # empty: the one that serves


@dataclass(frozen=True, slots=True)
class Progress:
    """What a finished task leads to: more tasks of its request, and requests that may be answered now."""

    openings: Sequence[Opening] = ()
    answered: bool = False


class AnswerRule(Protocol):
    """Which tasks a request opens, and when it may be answered. Keeps nothing: the core keeps `OpenRequest` for it."""

    def models(self) -> Sequence[str]:
        """Every model that it may open a task for: what the daemon loads and keeps an eye on."""

    def opened(self, request: Request) -> Sequence[Opening]:
        """The tasks a request begins with; at least one."""

    def finished(self, opened: OpenRequest, task: Task, result: StepResult) -> Progress:
        """`opened.unfinished` counts the request's tasks that are still open, `task` no longer among them."""

    def partial(self, opened: OpenRequest) -> Sequence[int]:
        """Which of `opened.finished` make an answer where the rest is late or lost; empty: there is none without it.

        It is also asked what would be if all that is still possible came: that decides whether to wait for it.
        """


@dataclass(frozen=True)
class ModelAlone:
    """The rule for a request that names a model instead of an app: one task, whose end is the answer."""

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
class Vote:
    """What one member of an ensemble said."""

    member: str  # "model/variant"
    label: str
    score: float = 1.0  # how sure, 0..1
    scores: Mapping[str, float] = field(default_factory=dict)  # label -> 0..1, where the member gives them


@dataclass(frozen=True, slots=True)
class EnsembleVerdict:
    """What an ensemble says."""

    label: str  # empty: nothing, for want of agreement
    confidence: float  # share of all members asked that agree with it, 0..1


@runtime_checkable
class Combines(Protocol):
    """An answer that makes one word of several. Called once for each answered request, where results are."""

    def combine(self, request: Request, votes: Sequence[Vote]) -> EnsembleVerdict:
        """`votes`: of those that came in time, at least one, in the order in which they were opened."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One turn of the loop: what happened, what was ordered, and the state after it (read only, this turn only)."""

    now: Time
    event: Event
    actions: Sequence[Action]
    state: State


class Observer(Protocol):
    """Sees every moment; may post events."""

    def observe(self, moment: Moment) -> Iterable[Event]: ...


@runtime_checkable
class Learns(Protocol):
    """An observer among the plug-ins that decide."""

    def observe(self, moment: Moment) -> Iterable[Event]: ...


class World(Protocol):
    """Where events come from and orders go: threads and a clock, or a heap and a seed."""

    def listen(self) -> tuple[Time, Event] | None:
        """Wait for the next event; None ends the run. Times never go backwards."""

    def do(self, action: Action) -> None:
        """Begin what is ordered; returns at once."""

    def post(self, event: Event) -> None:
        """An event of ours, to be heard soon."""
