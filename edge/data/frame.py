"""Holds a camera frame on its way from a source to the loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Frame:
    """Holds one camera frame as it came in. `payload`: JPEG bytes, not decoded or checked yet."""

    camera: str
    payload: bytes
    received_ns: int  # of the clock handed to the source (monotonic)
    received_time: float  # unix seconds
    frame_time: float  # unix seconds; the arrival where the publisher states none or an implausible one
    seq: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def traceparent(self) -> str | None:
        """Returns the W3C trace context that the publisher sent, or None."""
        return self.properties.get("traceparent")
