"""Implements `leeway broker`, the demo's own MQTT broker, for trying things out where no Mosquitto is installed."""

import signal
import threading
from typing import Annotated

import typer

from cli.output import AsJson, emit


def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on this machine; 0 picks a free one.")] = 1883,
    as_json: AsJson = False,
) -> None:
    """Run a small MQTT broker (3.1.1) for this machine alone, until told to stop.

    For demos and tests. On a real box use Mosquitto: bounded queues, MQTT 5, other machines may connect.

    [bold]Example[/bold]

      leeway broker --port 1883
    """
    from edge.sources.mqtt.broker import LOOPBACK, EmbeddedBroker

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedBroker(port) as running:
        emit({"host": LOOPBACK, "port": running.port}, f"MQTT broker at {LOOPBACK}:{running.port}", as_json)
        stop.wait()
