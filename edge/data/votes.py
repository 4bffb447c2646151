"""What the members of an ensemble said of a frame, and the one object that is made of it."""

from collections.abc import Sequence

from edge.answers.combining import Combines, Vote
from edge.core.events import Combined, Reply
from edge.data.job import InFlightRequest, TaskJob
from porting.formats.format import DetectedObject, LabelFormat
from porting.formats.registry import format_of


def combined(answer: object, opened: InFlightRequest, reply: Reply) -> Combined | None:
    """The members' one word; None where the answer makes none, or nobody said anything that can be voted on."""
    votes = votes_of([opened.jobs[task] for task in reply.tasks]) if isinstance(answer, Combines) else []
    if not votes or not isinstance(answer, Combines):
        return None
    verdict = answer.combine(opened.request, votes)
    said = {vote.member: vote.label for vote in votes}
    return Combined(opened.request.id, verdict.label, verdict.confidence, said)


def votes_of(jobs: Sequence[TaskJob]) -> list[Vote]:
    """Returns one vote for each model that said a label of the frame itself."""
    return [vote for job in jobs if job.parent is None and (vote := vote_of(job)) is not None]


def vote_of(job: TaskJob) -> Vote | None:
    output, outcome = job.variant.output, job.outcome
    if output is None or outcome.signals is None or not isinstance(format := format_of(output), LabelFormat):
        return None
    (found,) = outcome.found
    return Vote(f"{job.model}/{job.variant.name}", found.label, found.score, format.shares(output, outcome.signals))


def spoken(opened: InFlightRequest, said: Combined) -> list[DetectedObject]:
    """The answer as an object, as sure as they agree. Its kind is the members' model; of several models, the app."""
    models = {member.partition("/")[0] for member in said.votes}
    kind = models.pop() if len(models) == 1 else opened.request.app
    return [DetectedObject(kind, said.label, said.confidence)] if said.label else []
