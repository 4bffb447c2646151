"""Simulates a broker and the cameras behind it in a process of its own: one daemon connects and is kept busy.

It implements the part of MQTT 5 (OASIS, 2019) that the daemon needs: no topics are matched, nothing is retained or sent
again.
"""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from evaluation.capacity.load_generator import LoadGenerator

LOOPBACK = "127.0.0.1"
PUBLISH, SUBSCRIBE, DISCONNECT = 0x30, 0x80, 0xE0
CONNACK, PUBACK, SUBACK, PINGRESP = b"\x20\x03\x00\x00\x00", 0x40, 0x90, b"\xd0\x00"
USER_PROPERTY = 0x26
END_S = 5.0


@dataclass(frozen=True)
class CameraTraffic:
    """Describes what the cameras do; see `LoadGenerator`. `base`: of the topics, `<prefix>/<node>`."""

    base: str
    pictures: Sequence[bytes]
    apps: int
    duration_s: float


class FakeBroker:
    """Runs the broker's process: `with FakeBroker(traffic) as network:` a daemon may connect to
    `port`; `watch` reports progress.

    A result tells the cameras that a frame is answered; for a frame that gets none the daemon's side says so (`tell`).
    """

    def __init__(self, traffic: CameraTraffic) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=fake_broker, args=(theirs, traffic), daemon=True)
        self.port = 0

    def __enter__(self) -> "FakeBroker":
        self.process.start()
        self.port = self.pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.terminate()

    def tell(self, camera: str) -> None:
        """Tells the camera that its frame gets no answer."""
        self.pipe.send(camera)

    def watch(self) -> Iterator[float]:
        """Yields the share of the time that has passed, until it is over."""
        share = 0.0
        while share < 1.0:
            try:
                share = self.pipe.recv()
            except (EOFError, OSError):
                return
            yield share


# ---- the process ---------------------------------------------------------------------------------------------------


def fake_broker(pipe: Connection, traffic: CameraTraffic) -> None:
    """Runs the broker; ends when the other side of the pipe is closed."""
    with socket.create_server((LOOPBACK, 0)) as server:
        pipe.send(server.getsockname()[1])
        if pipe in wait([server, pipe]):
            return
        connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writing, subscribed, numbers = threading.Lock(), threading.Event(), Counter[str]()

    def write(packet: bytes) -> None:
        with writing:
            connection.sendall(packet)

    def send(camera: str, jpeg: bytes) -> None:
        numbers[camera] += 1
        write(frame_packet(f"{traffic.base}/{camera}/frame", jpeg, numbers[camera]))

    def hear() -> None:
        for kind, body in packets(connection):
            if reply := answer_to(kind, body):
                write(reply)
            if kind & 0xF0 == SUBSCRIBE:
                subscribed.set()
            elif kind & 0xF0 == PUBLISH and (camera := camera_of(topic_of(body), traffic.base)):
                generator.answered(camera)

    def work() -> None:
        subscribed.wait()
        generator.run()

    generator = LoadGenerator(traffic.pictures, traffic.apps, traffic.duration_s, send, pipe.send)
    for target in (hear, work):
        threading.Thread(target=quietly, args=(target,), daemon=True).start()
    while (camera := received(pipe)) is not None:
        generator.answered(camera)


def quietly(target: Callable[[], None]) -> None:
    """Calls `target` and ignores a connection that is closed meanwhile."""
    with suppress(OSError):
        target()


def received(pipe: Connection) -> str | None:
    """Returns the next message of the pipe; None when the other side is closed."""
    try:
        return str(pipe.recv())
    except (EOFError, OSError):
        return None


# ---- packets -------------------------------------------------------------------------------------------------------


def packets(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yields first byte and body of each packet, until the connection ends or the other side disconnects."""
    stream = connection.makefile("rb")
    try:
        while first := stream.read(1):
            size, shift = 0, 0
            while (byte := stream.read(1)[0]) & 0x80:
                size, shift = size | (byte & 0x7F) << shift, shift + 7
            yield first[0], stream.read(size | byte << shift)
            if first[0] == DISCONNECT:
                return
    except (OSError, IndexError):
        return


def answer_to(kind: int, body: bytes) -> bytes | None:
    """Returns the packet that the daemon waits for after this one; None when it waits for none."""
    match kind & 0xF0:
        case 0x10:
            return CONNACK
        case 0x80:
            granted = bytes(len(topics_of(body)))
            return bytes([SUBACK, 3 + len(granted)]) + body[:2] + b"\x00" + granted
        case 0xC0:
            return PINGRESP
        case 0x30 if kind & 0x06:
            at = 2 + int.from_bytes(body[:2])
            return bytes([PUBACK, 2]) + body[at : at + 2]
    return None


def topics_of(body: bytes) -> list[str]:
    """Returns the filters of a SUBSCRIBE packet: after its id and properties, each followed by a byte of options."""
    at, topics = 3 + body[2], []
    while at < len(body):
        size = int.from_bytes(body[at : at + 2])
        topics.append(body[at + 2 : at + 2 + size].decode())
        at += size + 3
    return topics


def topic_of(body: bytes) -> str:
    """Returns the topic of a PUBLISH packet."""
    return body[2 : 2 + int.from_bytes(body[:2])].decode()


def camera_of(topic: str, base: str) -> str | None:
    """Returns the camera whose result this is; None for any other topic."""
    if not topic.startswith(f"{base}/") or not topic.endswith("/result"):
        return None
    return topic[len(base) + 1 :].split("/")[0]


def frame_packet(topic: str, jpeg: bytes, seq: int) -> bytes:
    """Returns a PUBLISH packet of QoS 0, with the capture time and number of the frame."""
    user = pair("frame_time", f"{time.time():.6f}") + pair("seq", str(seq))
    body = text(topic) + varint(len(user)) + user + jpeg
    return bytes([PUBLISH]) + varint(len(body)) + body


def pair(name: str, value: str) -> bytes:
    return bytes([USER_PROPERTY]) + text(name) + text(value)


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def varint(number: int) -> bytes:
    """Encodes a number with seven bits per byte, the lowest first; the eighth bit says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
