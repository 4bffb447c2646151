"""What decides about a frame that comes in."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class AppRules(Protocol):
    """What an app allows each of its frames."""

    @property
    def slo_ms(self) -> float: ...
    @property
    def priority(self) -> int: ...


class StreamRules(Protocol):
    """Which apps a camera's frames go through, and how many of them may wait."""

    @property
    def apps(self) -> Sequence[str]: ...
    @property
    def waiting_max(self) -> int: ...
    @property
    def enabled(self) -> bool: ...


class AdmissionRules(Protocol):
    """What decides about a frame that comes in: apps and streams by name, as `edge.yaml` has them."""

    @property
    def apps(self) -> Mapping[str, AppRules]: ...
    @property
    def streams(self) -> Mapping[str, StreamRules]: ...
    def stream(self, name: str) -> StreamRules | None: ...
