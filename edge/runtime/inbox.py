"""Shows the daemon to its sources."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from edge.core.events import Withdrawn
from edge.core.interfaces import AnswerRule
from edge.data.frame import Frame
from edge.data.tensor_request import TensorRequest
from edge.runtime.world import LiveWorld
from porting.repository.repository import Repository


@dataclass(slots=True)
class LiveInbox:
    """Implements `edge.sources.source.Inbox` over the live world.

    `on_label` are called on the loop thread with the labels that people give, `on_fault` on the thread of the source.
    """

    world: LiveWorld
    repository: Repository
    answers: MutableMapping[str, AnswerRule]
    limits: Mapping[str, tuple[float, int]]
    on_label: Sequence[Callable[[str, str | None], None]]
    on_fault: Callable[[object, BaseException], None]

    @property
    def draining(self) -> bool:
        """Returns whether the daemon is stopping."""
        return self.world.draining

    @property
    def hears_labels(self) -> bool:
        """Returns whether anything here uses labels that people give."""
        return bool(self.on_label)

    def receive(self, frame: Frame) -> bool:
        """Hands a frame over. Returns False where the run is over."""
        return self.world.receive(frame)

    def ask(self, asked: TensorRequest) -> bool:
        """Hands a request with tensors over. Returns False where the run is over."""
        return self.world.ask(asked)

    def withdraw(self, asked: TensorRequest) -> None:
        """Withdraws a request. The word is queued behind the request, which has its id by the time it is heard."""
        asked.withdrawn = True
        self.world.call(lambda: self.world.post(Withdrawn(asked.request_id, "withdrawn")))

    def answer(self, id: str, label: str | None) -> None:
        """Hands a label for the result `id` to all that use labels, on the loop thread; None: they cannot tell."""
        if self.on_label:
            self.world.call(lambda: self._tell(id, label))

    def fault(self, source: object, error: BaseException) -> None:
        """Counts an error of a source's own thread."""
        self.on_fault(source, error)

    def _tell(self, id: str, label: str | None) -> None:
        for told in self.on_label:
            told(id, label)
