"""A daemon as sources see it, that keeps what it is given."""

from collections.abc import Callable
from typing import Any

from edge.core.interfaces import AnswerRule
from edge.data.frame import Frame
from edge.data.tensor_request import TensorRequest


class KeepingInbox:
    """`take` decides of each frame whether it is taken; `answered` gets (id, label), None: nothing uses labels."""

    def __init__(
        self,
        take: Callable[[Frame], bool] | None = None,
        answered: Callable[[tuple[str, str | None]], object] | None = None,
        repository: Any = None,
    ) -> None:
        self.frames: list[Frame] = []
        self.asked: list[TensorRequest] = []
        self.withdrawn: list[TensorRequest] = []
        self.faults: list[tuple[object, BaseException]] = []
        self.answers: dict[str, AnswerRule] = {}
        self.limits: dict[str, tuple[float, int]] = {}
        self.repository, self.draining = repository, False
        self.take, self.answered = take or self.keep, answered

    @property
    def hears_labels(self) -> bool:
        return self.answered is not None

    def keep(self, frame: Frame) -> bool:
        self.frames.append(frame)
        return not self.draining

    def receive(self, frame: Frame) -> bool:
        return self.take(frame)

    def ask(self, asked: TensorRequest) -> bool:
        self.asked.append(asked)
        return not self.draining

    def withdraw(self, asked: TensorRequest) -> None:
        self.withdrawn.append(asked)

    def answer(self, id: str, label: str | None) -> None:
        assert self.answered is not None
        self.answered((id, label))

    def fault(self, source: object, error: BaseException) -> None:
        self.faults.append((source, error))
