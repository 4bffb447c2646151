"""Embeds a small MQTT broker for the demo and for tests: amqtt, loopback only, MQTT 3.1.1, no passwords.

It is not meant for production: its queues are unbounded and its protocol is the old one. Use Mosquitto there.
"""

import asyncio
import logging
import socket
import threading
from types import TracebackType
from typing import Any, Self

from porting.errors import UserError

LOOPBACK = "127.0.0.1"
START_S = 20.0
STOP_S = 5.0


def free_port() -> int:
    """Returns a TCP port of the loopback interface that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """Runs a broker on a thread of its own: `with EmbeddedBroker() as broker: ... broker.port`.
    `port` 0 picks a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the broker and returns once clients can connect. Raises `UserError` when the
        extra `demo` is missing or the port is taken.
        """
        make = _make_broker()  # here, not on the thread, so that the caller gets the error about a missing package
        if not _is_free(self.port):
            raise UserError(f"port {self.port} is taken; choose another one with --port, or stop who uses it")
        self._started.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(make)), name="broker", daemon=True)
        self._thread.start()
        if not self._started.wait(START_S) or self._error:
            raise UserError(f"the embedded broker did not start on port {self.port}: {self._error or 'no answer'}")

    def stop(self) -> None:
        """Ends every connection and the thread. May be called again."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(STOP_S)

    async def _serve(self, make: Any) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            broker = make(self.port)
            await broker.start()
        except Exception as error:
            self._error = error
            return
        finally:
            self._started.set()
        await self._stop.wait()
        await broker.shutdown()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def _make_broker() -> Any:
    """Returns a function from a port to a broker that has not started. Raises `UserError` when
    amqtt is not installed.
    """
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise UserError(f"the embedded broker needs {error.name}; pip install amqtt, or use Mosquitto") from error
    for name in ("amqtt", "transitions"):  # they log a warning for every lost connection, which is normal here
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def make(port: int) -> Broker:
        anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listeners = {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}", "max_connections": 256}}
        return Broker({"listeners": listeners, "plugins": anonymous})

    return make
