"""Maintains one connection to an MQTT broker on one thread: connects, falls back to 3.1.1, backs off, sends the outbox.

The thread drives paho's network functions itself (its documented way to run inside another loop). That gives three
things that paho's own thread does not: a fall-back from MQTT 5 to 3.1.1, a bound on outgoing bytes at QoS 0, and a
fresh client per connection, so that nothing half-sent outlives it.
"""

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.sources.mqtt import socket_options
from edge.sources.mqtt.counters import Counters
from edge.sources.mqtt.outbox import Outbox, OutgoingMessage
from edge.sources.mqtt.reconnect import Attempts
from edge.sources.mqtt.settings import MqttSettings
from edge.sources.mqtt.socket_options import V5, V311
from edge.sources.mqtt.takeover import Takeovers
from edge.sources.mqtt.writer import Feeder
from porting.errors import UserError

NAMES = {V5: "5", V311: "3.1.1"}
UNSUPPORTED_PROTOCOL = 132
TAKEN_OVER = 142
CONNACK_S = 5.0  # for the broker's answer
CONNACK_V5_S = 1.5  # to MQTT 5 where 3.1.1 will do: old brokers wait for ever for the rest of a packet they misread
FLUSH_S = 2.0  # for what still waits at a clean stop
TURN_S = 0.5

log = logging.getLogger("leeway.mqtt")


class Link:
    """Connects once started, reconnects and re-subscribes until `stop`. All callbacks run on its thread.

    Args:
        settings: how to reach the broker; files it names that cannot be read raise `UserError` here.
        subscriptions: topic filters.
        on_message: called with each message.
        births: published at every connect.
        will: published by the broker when the connection is lost.
        farewell: published at a clean stop.
        packet_bytes_max: largest packet that the broker may send (MQTT 5).
        counters: where faults after the start are counted.
        say: called with one line per new trouble.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        subscriptions: Sequence[str] = (),
        on_message: Callable[[paho.MQTTMessage], None] | None = None,
        births: Sequence[OutgoingMessage] = (),
        will: OutgoingMessage | None = None,
        farewell: OutgoingMessage | None = None,
        packet_bytes_max: int | None = None,
        counters: Counters | None = None,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self.settings = settings
        self.counters = counters or Counters()
        self.outbox = Outbox(settings.outgoing_bytes_max)
        self._subscriptions, self._on_message = tuple(subscriptions), on_message
        self._births, self._will, self._farewell = tuple(births), will, farewell
        self._packet_bytes_max = packet_bytes_max
        self._say = say
        self._retained: dict[
            str, OutgoingMessage
        ] = {}  # the last one of each topic: a broker that restarts has forgotten them
        self._takeovers = Takeovers()
        self._attempts = Attempts(settings.protocol, settings.reconnect_max_s)
        self._ready, self._closing = threading.Event(), threading.Event()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._thread: threading.Thread | None = None
        self._client = self._fresh_client(V5)
        self._reset()
        self._last_said = ""

    # ---- for other threads -------------------------------------------------------------------------------------

    def subscribe(self, topic: str) -> None:
        """Adds a topic to the subscriptions of every connection. Called before `start` only."""
        assert self._thread is None, "subscriptions are made when a connection begins"
        self._subscriptions += (topic,)

    def start(self) -> None:
        """Starts the thread; allowed once."""
        assert self._thread is None, "a link starts once"
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{self.settings.name}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = FLUSH_S + CONNACK_S) -> None:
        """Sends what waits (for at most 2 s), publishes the farewell, disconnects. May be called again."""
        if self._thread is None or self._closing.is_set():
            return
        if self._farewell is not None and self.connected:
            self.outbox.put(self._farewell)
        self._closing.set()
        self._wake()
        self._thread.join(timeout_s)

    @property
    def connected(self) -> bool:
        """Returns whether the broker has accepted the connection, and the subscriptions where there are any."""
        return self._ready.is_set()

    @property
    def protocol(self) -> str | None:
        """Returns the protocol in use, "5" or "3.1.1"; None while there is no connection."""
        return NAMES[self._protocol] if self.connected else None

    def wait_connected(self, timeout_s: float) -> bool:
        """Waits for a connection; returns False when there is none within `timeout_s` seconds."""
        return self._ready.wait(timeout_s)

    def publish(self, message: OutgoingMessage) -> bool:
        """Queues a message without waiting; returns False when it was dropped, which is counted with the reason.

        While there is no connection QoS 0 is dropped and QoS 1 waits within the bound; of retained messages the last
        one of each topic is kept and sent at the next connect.
        """
        if message.retain:
            self._retained[message.topic] = message
        if not self.connected and (message.retain or message.qos == 0):
            return message.retain or self._dropped("dropped_disconnected")
        if not self.outbox.put(message):
            return self._dropped("dropped_backlog")
        self._wake()
        return True

    def _dropped(self, reason: str) -> bool:
        self.counters.add(reason)
        return False

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it is awake anyway
            self._wake_out.send(b".")

    # ---- the thread: connections -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                again_at_once = self._one_connection()
            except UserError as error:  # the files of `mqtt.tls` while they are being renewed: expected at run time
                self._report(f"{error}; trying again")
                again_at_once = False
            if not again_at_once:
                self._closing.wait(self._attempts.pause_s())

    def _one_connection(self) -> bool:
        """Runs one connection to its end. Returns True to try again without a pause: the broker
        wants another protocol.
        """
        self._reset()
        self._client = client = self._fresh_client(self._attempts.next_protocol())
        try:
            client.connect(
                self.settings.host,
                self.settings.port,
                self.settings.keepalive,
                **socket_options.connect_options(self._protocol, self._packet_bytes_max),
            )
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            self._report(f"no MQTT broker at {self._where}: {error}; trying again until there is one")
            return False
        trying_v5 = self.settings.protocol == "auto" and self._protocol == V5
        patience_s = time.monotonic() + (CONNACK_V5_S if trying_v5 else CONNACK_S)
        while client.socket() is not None and not self._closing.is_set():
            self._turn(client)
            if self._accepted_s is None and time.monotonic() > patience_s:
                self._mute = True
                break
        self._leave(client)
        return self._over()

    def _reset(self) -> None:
        self._ready.clear()
        self._feeder = Feeder(self.outbox, self.counters, self._report)
        self._accepted_s: float | None = None
        self._refused: ReasonCode | None = None
        self._mute = False  # the other side took the connection and said nothing in time
        self._taken_over = False

    def _fresh_client(self, protocol: MQTTProtocolVersion) -> paho.Client:
        self._protocol = protocol
        client = socket_options.fresh_client(self.settings, protocol, self._will)
        client.on_connect, client.on_subscribe = self._connected_now, self._subscribed  # type: ignore[assignment]
        client.on_disconnect, client.on_publish = self._disconnected, self._written
        client.on_message = self._received
        return client

    def _over(self) -> bool:
        """Cleans up after a connection: sorts out what was on its way, and learns for the next attempt."""
        self._ready.clear()
        self._feeder.give_back()
        if self._accepted_s is not None:
            self._learn_from_loss(time.monotonic())
            return False
        return self._learn_from_refusal()

    def _learn_from_loss(self, now_s: float) -> None:
        assert self._accepted_s is not None
        lived_s = now_s - self._accepted_s
        self._attempts.lost(lived_s)
        if self._closing.is_set():
            return
        self.counters.add("disconnects")
        if not self._takeovers.lost(now_s, lived_s, self._taken_over):
            self._report(f"lost the MQTT broker at {self._where}; reconnecting")
            return
        self.counters.add("takeovers")
        if self._takeovers.worth_saying(now_s):
            how = "was taken over by another client" if self._taken_over else "ends again and again within seconds"
            self._say(
                f"the connection of MQTT client id {self.settings.name!r} {how} ({self.counters['takeovers']} so far): "
                "does a second daemon use the same id? set a unique mqtt.client_id (or mqtt.node)"
            )

    def _learn_from_refusal(self) -> bool:
        if self._refused is None:
            at_once = self._attempts.refused("silent" if self._mute else "hung up")
            line = f"whatever listens at {self._where} does not answer like an MQTT broker; trying again"
        else:
            unsupported = self._refused.value == UNSUPPORTED_PROTOCOL
            at_once = self._attempts.refused("protocol" if unsupported else "us")
            line = f"the MQTT broker at {self._where} refuses us: {self._refused}; trying again"
        self.counters.add("fall_backs" if at_once else "refused")
        if not at_once:
            self._report(line)
        return at_once

    @property
    def _where(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    def _report(self, line: str) -> None:
        """Reports a line, but not again at every attempt."""
        if line != self._last_said and not self._closing.is_set():
            self._say(line)
        self._last_said = line

    # ---- the thread: one turn ----------------------------------------------------------------------------------

    def _turn(self, client: paho.Client) -> None:
        """Waits up to half a second for something to do on the socket or in the outbox, and does it."""
        connection = client.socket()
        assert connection is not None
        pending = getattr(connection, "pending", int)()  # bytes that TLS has decrypted already: select cannot see them
        writing = [connection] if client.want_write() else []
        busy = pending or (self.connected and self._feeder.ready(client))
        try:
            readable, writable, _ = select.select([connection, self._wake_in], writing, [], 0.0 if busy else TURN_S)
        except (OSError, ValueError):  # closed under us
            client.loop_misc()
            return
        if self._wake_in in readable:
            self._wake_in.recv(4096)
        if pending or connection in readable:
            client.loop_read()
            socket_options.acknowledge_at_once(connection)
        if connection in writable:
            client.loop_write()
        client.loop_misc()
        while self.connected and self._feeder.ready(client):
            self._feeder.feed(client)

    def _leave(self, client: paho.Client) -> None:
        """Ends the connection from our side; a clean stop first sends what waits."""
        until_s = time.monotonic() + FLUSH_S
        while client.socket() is not None and self.connected and time.monotonic() < until_s:
            if self._feeder.empty and not client.want_write():
                break
            self._turn(client)
        if client.socket() is not None:
            client.disconnect()
        while client.socket() is not None and time.monotonic() < until_s:
            self._turn(client)

    # ---- the thread: callbacks of the client -------------------------------------------------------------------

    def _connected_now(self, client: paho.Client, _: Any, __: Any, reason: ReasonCode, properties: Properties) -> None:
        if reason.is_failure:
            self._refused = reason
            return
        self._accepted_s = time.monotonic()
        self._feeder.packet_bytes_max = getattr(properties, "MaximumPacketSize", None)
        self.counters.add("connects")
        self._feeder.give_back()  # what was queued between the loss and now
        for message in (*self._births, *self._retained.copy().values()):
            if not self.outbox.put(message):
                self._dropped("dropped_backlog")
        if not self._subscriptions:
            self._now_ready()
        else:
            socket_options.subscribe(client, self._subscriptions, self.settings.qos)

    def _subscribed(self, _: paho.Client, __: Any, ___: int, reasons: list[ReasonCode], ____: Any) -> None:
        if refused := [t for t, reason in zip(self._subscriptions, reasons, strict=False) if reason.is_failure]:
            self.counters.add("subscriptions_refused", len(refused))
            self._report(f"the MQTT broker at {self._where} does not let us subscribe to {', '.join(refused)}")
        self._now_ready()

    def _now_ready(self) -> None:
        self._ready.set()
        self._last_said = ""
        log.info("connected to the MQTT broker at %s, MQTT %s", self._where, NAMES[self._protocol])

    def _disconnected(self, _: paho.Client, __: Any, flags: Any, reason: ReasonCode, ___: Any) -> None:
        self._taken_over = flags.is_disconnect_packet_from_server and reason.value == TAKEN_OVER

    def _written(self, _: paho.Client, __: Any, mid: int, ___: Any, ____: Any) -> None:
        self._feeder.written(mid)

    def _received(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        if self._on_message is not None:
            self._on_message(message)
