"""Turns labels that arrive later from outside into feedback about the members that answered."""

from collections.abc import Callable

from edge.core.events import Event, Feedback, Reply, Time
from edge.data.job import InFlightRequest
from edge.data.result import id_of
from edge.data.votes import votes_of

REMEMBERED_MAX = 4_096  # answered frames


class DelayedFeedback:
    """Listens to the live world and remembers what each member said of the last frames.

    A caller names a result by its `id` (`answered`). Rules that learn then receive `Feedback` with loss 0 for each
    member that had given the same label, and 1 for each other member.
    """

    def __init__(self, post: Callable[[Event], None]):
        self.post = post
        self.said: dict[str, tuple[int, dict[str, str]]] = {}  # result id -> request id; member -> label

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None: ...

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        """Remembers the members' labels of an answered frame; the oldest is forgotten beyond `REMEMBERED_MAX`."""
        if opened.frame is None or reply.outcome != "ok":
            return
        votes = votes_of([opened.jobs[task] for task in reply.tasks])
        if votes:
            self.said[id_of(opened)] = (opened.request.id, {vote.member: vote.label for vote in votes})
            if len(self.said) > REMEMBERED_MAX:
                del self.said[next(iter(self.said))]

    def answered(self, result_id: str, label: str | None) -> None:
        """Posts the feedback for a result. Runs on the loop thread. A label of None, or an
        unknown or forgotten id, is ignored.
        """
        request_id, said = self.said.pop(result_id, (0, {}))
        if said and label is not None:
            self.post(Feedback(request_id, {member: float(vote != label) for member, vote in said.items()}))
