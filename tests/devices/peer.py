"""A peer of a remote lane that does what a test wants: answers by a real engine, with silence, or with rubbish."""

import json
import socket
import threading
from collections.abc import Callable, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from devices.cpu import Cpu
from devices.interface import DeviceError
from devices.oip import LENGTH_HEADER, WireMessage, metadata_of, packed, unpacked

Act = Callable[["Handler"], bool]  # instead of an answer: True where nothing more is to be said


class Peer:
    """Serves these graphs. `act`: looks at each question first; `asked` is what came."""

    def __init__(self, graphs: Sequence[Path] = (), act: Act = lambda _: False):
        self.graphs = {sha256(graph.read_bytes()).hexdigest(): graph for graph in graphs}
        self.engines = {digest: Cpu().load(graph) for digest, graph in self.graphs.items()}
        self.act = act
        self.asked: list[tuple[str, str]] = []
        self.heads: list[dict[str, Any]] = []
        self.connections = 0
        self.over = threading.Event()
        self.port = 0

    def __enter__(self) -> "Peer":
        peer = self

        class Bound(Handler):
            def setup(self) -> None:
                super().setup()
                peer.connections += 1
                peer.sockets.append(self.connection)
                self.peer = peer

        self.sockets: list[socket.socket] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Bound)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """As if the box were switched off: every connection ends."""
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.cut()

    def cut(self) -> None:
        """End every connection, as a proxy does with idle ones."""
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.sockets.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    peer: Peer

    def log_message(self, *_: object) -> None: ...

    def say(self, status: int, table: Any, message: WireMessage | None = None) -> None:
        message = message or WireMessage(json.dumps(table).encode(), None)
        self.send_response(status)
        for name, value in message.headers().items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(message.body)))
        self.end_headers()
        self.wfile.write(message.body)

    def do_GET(self) -> None:
        self.peer.asked.append(("GET", self.path))
        if self.peer.act(self):
            return
        if self.path == "/v2/health/ready":
            self.say(200, {"live": True})
        elif engine := self.peer.engines.get(self.path.split("/")[3]):
            tables = {
                "inputs": list(map(metadata_of, engine.inputs)),
                "outputs": list(map(metadata_of, engine.outputs)),
            }
            self.say(200, {"name": self.path.split("/")[3], "platform": "onnx", **tables})
        else:
            self.say(404, {"error": "no such model"})

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.peer.asked.append(("POST", self.path))
        if self.peer.act(self):
            return
        head, inputs = unpacked(self.body, int(self.headers[LENGTH_HEADER]), "inputs")
        self.peer.heads.append(head)
        try:
            outputs = self.peer.engines[self.path.split("/")[3]].run(inputs)
        except DeviceError as error:
            self.say(400, {"error": str(error)})
            return
        self.say(200, None, packed({"model_name": "graph"}, "outputs", outputs))


def hang(handler: Handler) -> bool:
    """Says nothing until the peer is over."""
    if handler.command == "POST":
        handler.peer.over.wait(30)
        return True
    return False
