"""Passes the outbox to one connection's client piece by piece, and takes back what a lost
connection did not deliver.
"""

from collections.abc import Callable

import paho.mqtt.client as paho

from edge.sources.mqtt import socket_options
from edge.sources.mqtt.counters import Counters
from edge.sources.mqtt.outbox import OVERHEAD_BYTES, Outbox, OutgoingMessage

INFLIGHT = 20  # QoS > 0 messages on their way at once


class Feeder:
    """Feeds one connection; used by the network thread alone."""

    def __init__(self, outbox: Outbox, counters: Counters, report: Callable[[str], None]) -> None:
        self.packet_bytes_max: int | None = None  # what the broker takes, where it says so
        self._outbox, self._counters, self._report = outbox, counters, report
        self._in_hand: dict[int, OutgoingMessage] = {}  # given to the client, not yet written (QoS 0) or acknowledged

    @property
    def empty(self) -> bool:
        """Returns whether nothing waits and nothing is in the client's hands."""
        return not (len(self._outbox) or self._in_hand)

    def ready(self, client: paho.Client) -> bool:
        """Returns whether the client may get the next message: only after it has written the
        last one, so that our bound holds.
        """
        return bool(len(self._outbox)) and not client.want_write() and len(self._in_hand) < INFLIGHT

    def feed(self, client: paho.Client) -> None:
        """Passes the next message to the client; one that is larger than the broker takes is dropped and counted."""
        message = self._outbox.take()
        if message is None:
            return
        if self.packet_bytes_max and message.bytes + OVERHEAD_BYTES > self.packet_bytes_max:
            self._outbox.release(message)
            self._counters.add("dropped_oversize")
            self._report(f"a message of {message.bytes} bytes was dropped: the broker takes {self.packet_bytes_max}")
            return
        info = socket_options.send(client, message)
        if info.rc == paho.MQTT_ERR_SUCCESS and info.is_published():
            self._delivered(message)
        else:
            self._in_hand[info.mid] = message

    def written(self, mid: int) -> None:
        """Notes that the client has written message `mid` (QoS 0) or received its acknowledgement."""
        message = self._in_hand.pop(mid, None)
        if message is not None:  # None: written at once, inside `feed`
            self._delivered(message)

    def give_back(self) -> None:
        """Cleans up after a lost connection: QoS > 0 goes back into the outbox; the rest is
        stale, so it is dropped and counted.
        """
        stale = [message for message in self._in_hand.values() if message.qos == 0 or message.retain]
        for message in stale:
            self._outbox.release(message)
        self._outbox.back(message for message in self._in_hand.values() if not (message.qos == 0 or message.retain))
        self._in_hand = {}
        # Retained messages are no loss: their last state is published again at every connect.
        lost = sum(not message.retain for message in stale) + self._outbox.forget_stale()
        if lost:
            self._counters.add("dropped_disconnected", lost)

    def _delivered(self, message: OutgoingMessage) -> None:
        self._outbox.release(message)
        self._counters.add("sent")
