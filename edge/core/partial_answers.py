"""Decides whether some of a request's tasks are enough for an answer, where the rest is late or lost."""

from collections.abc import Sequence
from dataclasses import replace

from edge.core.interfaces import AnswerRule
from edge.core.state import OpenRequest


def enough(rule: AnswerRule, opened: OpenRequest) -> tuple[int, ...]:
    """Returns the finished tasks that make an answer as things stand; empty where they make none."""
    return tuple(rule.partial(opened)) if opened.finished else ()


def hopeful(rule: AnswerRule, opened: OpenRequest, more: int = 0) -> bool:
    """Tells whether all that came and may still come, with `more` tasks about to be opened, would make an answer."""
    hoped = [*(task_id for task_id in opened.tasks if task_id not in opened.lost), *range(-more, 0)]
    return bool(rule.partial(replace(opened, tasks=hoped, finished=hoped)))


def lose(rule: AnswerRule, opened: OpenRequest, tasks: Sequence[int]) -> bool:
    """Books tasks of a request that will not end. Returns whether there can be an answer without them."""
    opened.lost += tasks
    opened.unfinished -= len(tasks)
    return hopeful(rule, opened)


def complete(opened: OpenRequest) -> tuple[int, ...]:
    """Returns the tasks whose outputs make the answer of a request that is answered in full, in the order opened."""
    return tuple(task_id for task_id in opened.tasks if task_id not in opened.lost)
