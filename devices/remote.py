"""Runs engines on another box: asks a peer by the Open Inference Protocol v2 over HTTP.

The peer may be another Leeway: its daemon answers for every graph that it serves, by the digest of the graph's blob
(edge/sources/http/server.py). A peer that cannot be reached takes the lane down, and the lane comes back with it: what
waits for it runs elsewhere meanwhile.
"""

import re
import threading
from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from json import loads
from pathlib import Path
from socket import SHUT_RDWR
from time import monotonic
from urllib.parse import urlsplit

import numpy as np

from devices.artefact import ONNX
from devices.interface import DeviceError, DeviceLost, OnnxFiles, RunStopped, Tensors, TensorSpec
from devices.oip import LENGTH_HEADER, WireError, WireMessage, packed, spec_of, unpacked
from devices.traits import Traits

PEERS_SHARE = 0.9  # of the time limit: what the peer has for it, so that it says itself that it was late
CHUNK_BYTES = 1 << 20
BODY_BYTES_MAX = 256 << 20  # of an answer
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Remote(OnnxFiles):
    """Runs graphs on another box behind a URL. One lane sends one work at a time: name a lane for each in parallel.

    Args:
        name: names the lane.
        url: where the peer's protocol begins, without the `/v2`.
        price_per_request: of one task, in the money of the budget of `edge.policies.wrappers.cloud_burst:CloudBurst`.
        timeout_ms: a call that takes longer has failed; most of it is told to the peer as its deadline.
        memory_mb: limit for the blobs that may be in use there; nothing is sent, so this bounds the choice only.
        overhead_ms: by which a run there is slower than here at first, until the lane's own runs say better.
        artefacts: kinds of artefact that the peer's devices take. It is asked by digest, so that it has the very
            artefact is found out at each load; this keeps questions off the network whose answer is known.

    Raises:
        DeviceError: options that make no sense.
    """

    kind = "remote"

    def __init__(
        self,
        name: str = "remote0",
        url: str = "http://127.0.0.1:8000",
        price_per_request: float = 0.0,
        timeout_ms: float = 1000.0,
        memory_mb: int = 1024,
        overhead_ms: float = 10.0,
        artefacts: Sequence[str] = (ONNX,),
    ):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DeviceError(f"{name}: url is {url!r}; expected one such as http://10.0.0.7:8000")
        if price_per_request < 0 or timeout_ms <= 0 or overhead_ms < 0:
            raise DeviceError(f"{name}: price_per_request and overhead_ms must be 0 or more, timeout_ms more than 0")
        self.name, self.url = name, url.rstrip("/")
        self.timeout_s, self.artefacts = timeout_ms / 1e3, frozenset(artefacts)
        self.traits = Traits(remote=True, price_per_request=price_per_request, overhead_ms=overhead_ms)
        self.memory_bytes = memory_mb * 1024 * 1024
        self._path = parts.path.rstrip("/")
        self._address = (parts.hostname, parts.port)
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._idle: deque[HTTPConnection] = deque(maxlen=8)

    def load(self, graph: Path, batches: tuple[int, ...] = (1,)) -> "RemoteEngine":
        """Asks the peer what the graph takes and gives.

        Raises `DeviceError` where it has no such graph, `DeviceLost` where it cannot be reached. `batches` is ignored.
        """
        try:
            digest = graph.name if _DIGEST.fullmatch(graph.name) else sha256(graph.read_bytes()).hexdigest()
        except OSError as error:
            raise DeviceError(f"{self.name}: {graph}: {error.strerror}") from None
        try:
            table = loads(self._answer(_RemoteCall(), "GET", f"/v2/models/{digest}").body)
            inputs, outputs = (tuple(map(spec_of, table[key])) for key in ("inputs", "outputs"))
        except (ValueError, KeyError, TypeError) as error:
            raise DeviceError(f"{self.name}: {self.url} describes {digest[:12]} wrongly: {error}") from None
        return RemoteEngine(self, digest, inputs, outputs)

    def enter(self, background: bool) -> None:
        """Does nothing, since the work is elsewhere."""

    def back(self) -> bool:
        """Returns whether the peer answers and is ready."""
        try:
            self._answer(_RemoteCall(), "GET", "/v2/health/ready")
        except DeviceError:
            return False
        return True

    def infer(self, call: "_RemoteCall", digest: str, inputs: Tensors) -> dict[str, np.ndarray]:
        """Returns all outputs by name. Raises `RunStopped`, `DeviceError`, `DeviceLost`."""
        limits = {"timeout": round(self.timeout_s * PEERS_SHARE * 1e6), "binary_data_output": True}
        message = packed({"parameters": limits}, "inputs", inputs)
        answer = self._answer(call, "POST", f"/v2/models/{digest}/infer", message)
        try:
            return unpacked(answer.body, answer.json_bytes, "outputs")[1]
        except WireError as error:
            raise DeviceError(f"{self.name}: {self.url} sent no answer: {error}") from None

    # ---- one call ----------------------------------------------------------------------------------------------

    def _answer(self, call: "_RemoteCall", verb: str, path: str, message: WireMessage | None = None) -> WireMessage:
        """Returns a good answer. An idle connection may be stale, so a call that fails on one is tried on another."""
        until = monotonic() + self.timeout_s
        try:
            while self._idle:
                try:
                    return self._ask(call, self._idle.pop(), until, verb, path, message)
                except (ConnectionError, HTTPException, IndexError):
                    if call.stopped:
                        raise
            return self._ask(call, self._kind(*self._address), until, verb, path, message)
        except (OSError, HTTPException) as error:
            if call.stopped:
                raise RunStopped("stopped") from None
            said = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise DeviceLost(f"{self.name}: {self.url}: {said}", self.back) from None

    def _ask(
        self,
        call: "_RemoteCall",
        connection: HTTPConnection,
        until: float,
        verb: str,
        path: str,
        message: WireMessage | None,
    ) -> WireMessage:
        kept = False
        try:
            connection.timeout = left_s(until)
            if connection.sock is None:
                connection.connect()
            call.begin(connection)
            body, headers = (message.body, message.headers()) if message else (None, {})
            connection.request(verb, self._path + path, body, headers)
            response = connection.getresponse()
            got = body_of(response, connection, until)
            kept = not call.end() and not response.will_close
        finally:
            call.end()
            if kept:
                self._idle.append(connection)
            else:
                connection.close()
        if response.status != 200:
            raise DeviceError(f"{self.name}: {self.url} says {response.status}: {error_of(got)}")
        length = response.getheader(LENGTH_HEADER)
        return WireMessage(got, int(length) if length and length.isdecimal() else None)


class _RemoteCall:
    """Holds one call on its way. It may be stopped from another thread, at any moment of it or after it."""

    __slots__ = ("connection", "lock", "stopped")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stopped = False
        self.connection: HTTPConnection | None = None

    def begin(self, connection: HTTPConnection) -> None:
        """Lets `stop` cut this connection from here on. Raises `RunStopped` where it came before."""
        with self.lock:
            if self.stopped:
                raise RunStopped("stopped")
            connection.sock.settimeout(connection.timeout)
            self.connection = connection

    def end(self) -> bool:
        """Takes the connection from the call; returns whether it was stopped."""
        with self.lock:
            self.connection = None
            return self.stopped

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            if self.connection is not None and self.connection.sock is not None:
                try:
                    self.connection.sock.shutdown(SHUT_RDWR)
                except OSError:
                    return  # the other side was quicker


class RemoteEngine:
    """Runs a graph that the peer has.

    `run` belongs to one thread at a time; `stop` and `close` may come from others.
    """

    def __init__(self, device: Remote, digest: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]):
        self.inputs, self.outputs = inputs, outputs
        self._device, self._digest = device, digest
        self._call: _RemoteCall | None = None
        self._closed = False

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Returns the outputs by name.

        Raises `RunStopped` after `stop`, `DeviceError` where the peer refuses or answers wrongly, `DeviceLost` where it
        cannot be reached.
        """
        if self._closed:
            raise DeviceError("the engine is closed")
        call = self._call = _RemoteCall()
        try:
            found = self._device.infer(call, self._digest, inputs)
        finally:
            self._call = None
        rows = next(iter(inputs.values())).shape[:1]  # what comes after the first may be a head, which has none
        if wrong := next((said for spec in self.outputs if (said := wrong_in(found, spec, rows))), ""):
            raise DeviceError(f"{self._device.name}: {self._device.url} sent no answer: {wrong}")
        return found

    def stop(self) -> None:
        """Cuts the connection: the peer drops what waits there, and finishes in vain what runs."""
        if (call := self._call) is not None:
            call.stop()

    def close(self) -> None:
        """Refuses further runs; nothing is held here. Idempotent."""
        self._closed = True


def wrong_in(found: Tensors, spec: TensorSpec, rows: tuple[int, ...]) -> str:
    """Returns what is wrong with this output of an answer; "" for nothing.

    rows: the first dimension that it must have.
    """
    array = found.get(spec.name)
    if array is None:
        return f"{spec.name} is missing"
    if array.dtype.name != spec.dtype or array.shape[:1] != rows:
        return (
            f"{spec.name} is {array.dtype.name} of shape {list(array.shape)}; expected {spec.dtype}, {sum(rows)} rows"
        )
    return ""


def left_s(until: float) -> float:
    """Returns the seconds left until this time of the monotonic clock. Raises `TimeoutError` where there are none."""
    left = until - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def body_of(response: HTTPResponse, connection: HTTPConnection, until: float) -> bytes:
    """Returns the whole body, read within the time that is left until `until` on the monotonic clock.

    Raises `TimeoutError`, and `IncompleteRead` for a body that is cut short or longer than `BODY_BYTES_MAX`.
    """
    expected, chunks, size = response.length, [], 0
    while expected is None or size < expected:
        if connection.sock is not None:  # it is None where the peer has said that this answer is its last
            connection.sock.settimeout(left_s(until))
        chunk = response.read1(CHUNK_BYTES)
        size += len(chunk)
        if not chunk or size > BODY_BYTES_MAX:
            break
        chunks.append(chunk)
    if size > BODY_BYTES_MAX or (expected is not None and size < expected):
        raise IncompleteRead(b"".join(chunks), None if expected is None else expected - size)
    response.close()
    return b"".join(chunks)


def error_of(body: bytes) -> str:
    """Returns what the body of a refusal says is wrong, as one line of at most 300 characters."""
    try:
        said = loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        said = body[:300].decode(errors="replace")
    return " ".join(str(said).split())[:300] or "nothing more"
