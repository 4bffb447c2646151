"""What every answer keeps: it opens something, it ends, it answers its own request once, and it remembers nothing."""

import inspect
from typing import Any

import pytest

from edge.core.events import Request, StepResult, Task
from edge.core.interfaces import AnswerRule, Opening
from edge.core.state import OpenRequest

OPTIONS: dict[str, Any] = {
    "model": "detector",
    "members": ("detector", "vehicles/fp32", "persons"),
    "detect": "detector",
    "classify": {"vehicle": "vehicles", "person": "persons"},
}
RESULTS = [
    StepResult(),
    StepResult(children={"vehicle": 3}),
    StepResult(children={"vehicle": 2, "person": 2, "dog": 4}),
    StepResult(children={"dog": 1}),
    StepResult(children={"person": 500}),
    StepResult(confidence=0.1),
]


def made(kind: type) -> AnswerRule:
    wanted = inspect.signature(kind).parameters
    answer: AnswerRule = kind(**{name: value for name, value in OPTIONS.items() if name in wanted})
    return answer


def walk(answer: AnswerRule, request: Request, result: StepResult) -> tuple[list[Opening], list[int], list[int]]:
    """Finish every task, the first with `result`. Returns openings, answers, and tasks left at each answer."""
    opened = OpenRequest(request)
    answered: list[int] = []
    left: list[int] = []
    openings = [*answer.opened(request)]
    waiting = [*openings]
    opened.unfinished = len(waiting)
    for number in range(1, 1000):
        if not waiting:
            break
        opening = waiting.pop(0)
        task = Task(number, request.id, opening.model, ("s",), 0, 0, None, 0, opening.parent, opening.item)
        opened.unfinished -= 1
        progress = answer.finished(opened, task, result if number == 1 else StepResult())
        waiting += progress.openings
        openings += progress.openings
        opened.unfinished += len(progress.openings)
        if progress.answered:
            answered.append(request.id)
            left.append(opened.unfinished)
    return openings, answered, left


@pytest.mark.parametrize("result", RESULTS, ids=str)
def test_it_answers_its_request_once_when_nothing_is_left(answer_class: type, result: StepResult) -> None:
    openings, answered, left = walk(made(answer_class), Request(7, "app", "camera", 0, 100), result)
    assert openings
    assert answered == [7]
    assert left == [0]


@pytest.mark.parametrize("result", RESULTS, ids=str)
def test_it_opens_only_what_it_said_it_may(answer_class: type, result: StepResult) -> None:
    answer = made(answer_class)
    openings, _, _ = walk(answer, Request(7, "app", "camera", 0, 100), result)
    assert {opening.model for opening in openings} <= set(answer.models())


def test_the_number_of_its_tasks_is_bounded(answer_class: type) -> None:
    generator = StepResult(children={"vehicle": 10**6, "person": 10**6})
    openings, _, _ = walk(made(answer_class), Request(7, "app", "camera", 0, 100), generator)
    assert len(openings) < 100


def test_children_are_found_again(answer_class: type) -> None:
    """Parent and item name a child's input: no two children of a frame have the same."""
    result = StepResult(children={"vehicle": 3, "person": 3})
    openings, _, _ = walk(made(answer_class), Request(7, "app", "camera", 0, 100), result)
    names = [(opening.parent, opening.item) for opening in openings]
    assert len(names) == len(set(names))


def test_it_remembers_nothing(answer_class: type) -> None:
    answer = made(answer_class)
    before = repr(answer)
    for number in range(3):
        walk(answer, Request(number, "app", "camera", 0, 100), RESULTS[2])
    assert repr(answer) == before
    assert answer == made(answer_class)
