"""Queues outgoing messages within a bound in bytes, since the client library bounds nothing at QoS 0."""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

OVERHEAD_BYTES = 256  # of a packet and its bookkeeping; keeps many tiny messages bounded too


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """Holds one message to publish. `user`: metadata (MQTT 5 user properties); `wrap`: as a JSON envelope on 3.1.1."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    user: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None
    expiry_s: int | None = None
    wrap: bool = False

    @property
    def bytes(self) -> int:
        """Returns the size that counts against the bound, overhead included."""
        return len(self.payload) + len(self.topic) + OVERHEAD_BYTES


class Outbox:
    """Holds messages in order. Bytes count from `put` until `release`, so messages that the
    network has not taken yet count.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._waiting: deque[OutgoingMessage] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Returns the bytes that count at this moment."""
        return self._bytes

    def put(self, message: OutgoingMessage, *, first: bool = False) -> bool:
        """Appends a message, or puts it first; returns False and changes nothing when it does not fit."""
        with self._lock:
            if self._bytes + message.bytes > self.bytes_max:
                return False
            self._bytes += message.bytes
            (self._waiting.appendleft if first else self._waiting.append)(message)
            return True

    def take(self) -> OutgoingMessage | None:
        """Returns the next message, or None. Its bytes count until it is given to `release` or `back`."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def release(self, message: OutgoingMessage) -> None:
        """Stops counting the bytes of a message that was delivered or dropped."""
        with self._lock:
            self._bytes -= message.bytes

    def back(self, messages: Iterable[OutgoingMessage]) -> None:
        """Puts messages that were taken but not delivered back to the front, in the order given."""
        with self._lock:
            self._waiting.extendleft(reversed(list(messages)))

    def forget_stale(self) -> int:
        """Drops messages that are worth nothing at the next connection (QoS 0 and retained
        ones); returns how many were lost.

        Retained messages are not counted: their last state is published again at every connect.
        """
        with self._lock:
            kept = [message for message in self._waiting if message.qos > 0 and not message.retain]
            gone = [message for message in self._waiting if message.qos == 0 or message.retain]
            self._bytes -= sum(message.bytes for message in gone)
            self._waiting = deque(kept)
            return sum(not message.retain for message in gone)
