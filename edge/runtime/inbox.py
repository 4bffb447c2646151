"""The daemon as its sources see it."""

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

    `on_label` are told on the loop thread what people say, `on_fault` on the thread that calls.
    """

    world: LiveWorld
    repository: Repository
    answers: MutableMapping[str, AnswerRule]
    limits: Mapping[str, tuple[float, int]]
    on_label: Sequence[Callable[[str, str | None], None]]
    on_fault: Callable[[object, BaseException], None]

    @property
    def draining(self) -> bool:
        """Returns whether the daemon stops."""
        return self.world.draining

    @property
    def hears_labels(self) -> bool:
        """Returns whether anything here uses what people say."""
        return bool(self.on_label)

    def receive(self, frame: Frame) -> bool:
        """Hands a frame over; False where the run is over."""
        return self.world.receive(frame)

    def ask(self, asked: TensorRequest) -> bool:
        """Hands a request with tensors over; False where the run is over."""
        return self.world.ask(asked)

    def withdraw(self, asked: TensorRequest) -> None:
        """Gives a request up. It goes behind the request itself, so that this one has its id by then."""
        asked.withdrawn = True
        self.world.call(lambda: self.world.post(Withdrawn(asked.request_id, "withdrawn")))

    def answer(self, id: str, label: str | None) -> None:
        """Tells those who use labels, on the loop thread."""
        if self.on_label:
            self.world.call(lambda: self._tell(id, label))

    def fault(self, source: object, error: BaseException) -> None:
        """Counts an error of a source's own thread."""
        self.on_fault(source, error)

    def _tell(self, id: str, label: str | None) -> None:
        for told in self.on_label:
            told(id, label)
