"""Configures paho's client and its sockets, and hides the differences between MQTT 5 and 3.1.1 from all other files."""

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.sources.mqtt.envelope import sealed
from edge.sources.mqtt.outbox import OutgoingMessage
from edge.sources.mqtt.settings import MqttSettings
from porting.errors import UserError

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
CONNECT_S = 2.0  # for the TCP connection
NO_RETAINED = 2  # retained frames are stale by nature: the broker need not send them


def fresh_client(settings: MqttSettings, protocol: MQTTProtocolVersion, will: OutgoingMessage | None) -> paho.Client:
    """Returns a client that has not connected yet. Raises `UserError` when the TLS files cannot be used."""
    client = paho.Client(CallbackAPIVersion.VERSION2, settings.name, protocol=protocol)
    client.connect_timeout = CONNECT_S
    client.on_socket_open = _without_delay
    if settings.username is not None:
        client.username_pw_set(settings.username, settings.password)
    if settings.tls is not None:
        ca, cert, key = (str(path) if path else None for path in (settings.tls.ca, settings.tls.cert, settings.tls.key))
        try:
            client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise UserError(f"mqtt.tls: {error}; check the files that ca, cert and key name") from error
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    return client


def _without_delay(_: paho.Client, __: Any, connection: Any) -> None:
    # A small packet after another one would wait for the other side's acknowledgement: some 40 ms.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_at_once(connection: Any) -> None:
    """Turns off delayed TCP acknowledgements: a broker with Nagle's algorithm on (Mosquitto's default) waits for each.

    Measured at 100 frames/s of 15 kB over loopback, the wait costs some 15 ms at the median. Linux resets the option by
    itself, so it must be set often.
    """
    if quick := getattr(socket, "TCP_QUICKACK", None):
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, quick, 1)


def connect_options(protocol: MQTTProtocolVersion, packet_bytes_max: int | None) -> dict[str, Any]:
    """Returns arguments for connecting with a clean session and, on MQTT 5, a largest packet of
    `packet_bytes_max` bytes.
    """
    if protocol != V5:
        return {}
    if packet_bytes_max is None:
        return {"clean_start": True}
    return {"clean_start": True, "properties": _properties(PacketTypes.CONNECT, MaximumPacketSize=packet_bytes_max)}


def subscribe(client: paho.Client, topics: Sequence[str], qos: int) -> None:
    """Subscribes to topics; on MQTT 5 without the retained messages."""
    if client.protocol == V5:
        client.subscribe([(topic, SubscribeOptions(qos, retainHandling=NO_RETAINED)) for topic in topics])
    else:
        client.subscribe([(topic, qos) for topic in topics])


def send(client: paho.Client, message: OutgoingMessage) -> paho.MQTTMessageInfo:
    """Publishes a message with its metadata as user properties; on 3.1.1 in a JSON envelope if
    `wrap` allows it, else without.
    """
    if client.protocol != V5:
        payload = sealed(message.payload, message.user) if message.wrap else message.payload
        return client.publish(message.topic, payload, message.qos, message.retain)
    said = {
        "UserProperty": list(message.user.items()) or None,
        "ContentType": message.content_type,
        "MessageExpiryInterval": message.expiry_s,
    }
    properties = _properties(PacketTypes.PUBLISH, **said)
    return client.publish(message.topic, message.payload, message.qos, message.retain, properties)


def _properties(kind: int, **said: Any) -> Properties:
    properties: Properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in said.items():
        if value is not None:
            setattr(properties, name, value)
    return properties
