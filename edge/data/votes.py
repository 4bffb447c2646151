"""Collects what the members of an ensemble said of a frame, and makes one object of it."""

from collections.abc import Sequence

from edge.answers.combining import Combines, Vote
from edge.core.events import Combined, Reply
from edge.data.job import InFlightRequest, TaskJob
from porting.formats.format import DetectedObject, LabelFormat
from porting.formats.registry import format_of


def combined(answer: object, opened: InFlightRequest, reply: Reply) -> Combined | None:
    """Returns the members' combined label; None where the answer combines nothing, or no member gave a label."""
    votes = votes_of([opened.jobs[task] for task in reply.tasks]) if isinstance(answer, Combines) else []
    if not votes or not isinstance(answer, Combines):
        return None
    verdict = answer.combine(opened.request, votes)
    said = {vote.member: vote.label for vote in votes}
    return Combined(opened.request.id, verdict.label, verdict.confidence, said)


def votes_of(jobs: Sequence[TaskJob]) -> list[Vote]:
    """Returns one vote for each model that gave the frame itself a label, not one of its crops."""
    return [vote for job in jobs if job.parent is None and (vote := vote_of(job)) is not None]


def vote_of(job: TaskJob) -> Vote | None:
    """Returns the vote of one task; None where its outcome has no signals, or its format gives no label."""
    output, outcome = job.variant.output, job.outcome
    if output is None or outcome.signals is None or not isinstance(format := format_of(output), LabelFormat):
        return None
    if len(outcome.found) != 1:
        return None  # no one word that could be counted
    (found,) = outcome.found
    return Vote(f"{job.model}/{job.variant.name}", found.label, found.score, format.shares(output, outcome.signals))


def spoken(opened: InFlightRequest, said: Combined) -> list[DetectedObject]:
    """Returns the combined label as one object, or nothing without a label. The score is how far the members agree.

    The object's kind is the members' model, or the app where they are of several models.
    """
    models = {member.partition("/")[0] for member in said.votes}
    kind = models.pop() if len(models) == 1 else opened.request.app
    return [DetectedObject(kind, said.label, said.confidence)] if said.label else []
