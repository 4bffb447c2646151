"""Feedback from outside: what members said of the last frames is kept until somebody says what was to be seen there."""

from collections.abc import Callable

from edge.core.events import Event, Feedback, Reply, Time
from edge.data.job import InFlightRequest
from edge.data.result import id_of
from edge.data.votes import votes_of

REMEMBERED_MAX = 4_096  # answered frames


class DelayedFeedback:
    """Listener of the live world. Whoever knows better names a result by its `id` (`answered`), and the answers that
    learn hear of it as `Feedback`: 0 for each member that had said the same, 1 for each that had not.
    """

    def __init__(self, post: Callable[[Event], None]):
        self.post = post
        self.said: dict[str, tuple[int, dict[str, str]]] = {}  # result id -> request id; member -> label

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None: ...

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        if opened.frame is None or reply.outcome != "ok":
            return
        votes = votes_of([opened.jobs[task] for task in reply.tasks])
        if votes:
            self.said[id_of(opened)] = (opened.request.id, {vote.member: vote.label for vote in votes})
            if len(self.said) > REMEMBERED_MAX:
                del self.said[next(iter(self.said))]

    def answered(self, result_id: str, label: str | None) -> None:
        """On the loop thread. A label of None cannot be told; an id that is too old, or another's, is no news."""
        request_id, said = self.said.pop(result_id, (0, {}))
        if said and label is not None:
            self.post(Feedback(request_id, {member: float(vote != label) for member, vote in said.items()}))
