"""Serves the daemon to its peers: the Open Inference Protocol v2 over HTTP, in a thread of its own.

A question becomes requests of the core, one for each row, with a deadline: they wait, share batches and are dropped as
frames are. 200: all rows were answered. 400, 404, 413: the question is wrong. 503: there is no time, or no room, or
the daemon stops. 500: the work failed.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata as distribution
from threading import Lock, Thread
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from devices.oip import EXTENSIONS, LENGTH_HEADER
from edge.core.events import Event, Reply, Time
from edge.core.interfaces import Moment
from edge.data.job import TaskJob
from edge.data.tensor_request import TensorRequest
from edge.plugins import checked
from edge.sources.http import protocol
from edge.sources.http.catalogue import Catalogue, Entry, Version
from edge.sources.http.protocol import InferRequest, Refused, Specs
from edge.sources.http.settings import HttpSettings
from edge.sources.source import Delivery, Inbox, Value
from porting.errors import UserError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

CLOSE_S = 3.0  # for the server to say goodbye
KEEP_ALIVE_S = 75  # longer than most clients keep a connection that is idle
STATUS = {"failed": 500}  # other outcomes: 503


class Rows:
    """Collects the rows of one question on their way.

    `told` is called on the daemon's loop thread; the server's loop awaits `over`.
    """

    def __init__(self, count: int, on_told: Callable[[], None]):
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[Reply | None] = self.loop.create_future()  # the first row without an answer
        self.jobs: list[TaskJob | None] = [None] * count
        self.on_told = on_told
        self.left = count

    def told(self, at: int, reply: Reply, jobs: Sequence[TaskJob]) -> None:
        """Takes the reply of the row at place `at`.

        `over` is set once all rows are answered, to `None`, or at the first reply that is no answer, to that reply.
        """
        self.on_told()
        self.left -= 1
        if reply.outcome == "ok":
            self.jobs[at] = jobs[0]
        if reply.outcome != "ok" or not self.left:
            with suppress(RuntimeError):  # the server is gone: so is the client
                self.loop.call_soon_threadsafe(self._end, None if reply.outcome == "ok" else reply)

    def _end(self, bad: Reply | None) -> None:
        if not self.over.done():
            self.over.set_result(bad)


class HttpSource:
    """Answers questions over HTTP. Options: those of `HttpSettings`; raises `ValueError` for wrong ones.

    It listens from `prepare` on, and refuses questions until `start`. It publishes nothing: who asks is answered.
    """

    def __init__(self, **options: Any):
        self.settings = checked(HttpSettings, options)
        self.begun = False
        self.lock, self.open = Lock(), 0  # rows that are not answered yet
        self.port = self.settings.port
        self.catalogue: Catalogue | None = None
        self.thread: Thread | None = None

    # ---- begin and end -------------------------------------------------------------------------------------------

    def prepare(self, inbox: Inbox) -> None:
        """Listens. Raises `UserError` where the port is taken or a package is missing."""
        self.inbox, self.limits = inbox, inbox.limits
        self.catalogue = Catalogue(inbox.answers)
        self.reader = protocol.Reader(inbox.repository, self.settings.rows_max)
        self.socket = self._bound()
        self.server = self._server()
        self.thread = Thread(target=self._serve, name="http", daemon=True)
        self.thread.start()

    def start(self, inbox: Inbox) -> None:
        """Answers questions from now on: what serves is loaded."""
        if self.thread is None:
            self.prepare(inbox)
        self.begun = True

    def ready(self) -> bool:
        """Returns whether questions are answered."""
        return self.begun and not self.inbox.draining

    def observe(self, moment: Moment) -> Iterator[Event]:
        """Follows which models and graphs can be asked for."""
        if self.catalogue is not None:
            yield from self.catalogue.observe(moment)

    def publish(self, topic: str, value: Value, delivery: Delivery) -> None:
        """Does nothing, since an answer goes to the client that asked."""

    def stop(self) -> None:
        """Ends the server; what is open gets some seconds."""
        if self.thread is not None:
            self.server.should_exit = True
            self.thread.join(CLOSE_S)

    def __str__(self) -> str:
        return f"http://{self.settings.host}:{self.port}"

    def _bound(self) -> socket.socket:
        settings = self.settings
        try:
            bound = socket.create_server((settings.host, settings.port), reuse_port=False)
        except OSError as error:
            why = str(error.strerror or error).partition(" (")[0]
            raise UserError(f"http: {settings.host}:{settings.port}: {why}; name another port") from None
        # asyncio does it for sockets that name their protocol, which this one does not; what is accepted inherits it.
        # Without it an answer's body waits 40 ms for its head to be acknowledged.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = bound.getsockname()[1]
        return bound

    def _server(self) -> Any:
        try:
            import uvicorn

            app = self._app()
        except ImportError as error:
            raise UserError(f"http: {error.name} is missing: pip install starlette uvicorn") from None
        return uvicorn.Server(
            uvicorn.Config(
                app, http="h11", ws="none", lifespan="off", loop="asyncio", log_config=None, log_level="warning",
                access_log=False, proxy_headers=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=1,
            )
        )  # fmt: skip

    def _serve(self) -> None:
        try:
            self.server.run(sockets=[self.socket])
        except BaseException as error:
            self.begun = False
            self.inbox.fault(self, error)

    def _app(self) -> "Starlette":
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.routing import Route

        model = "/v2/models/{model}"
        routes = [
            Route("/v2", self._describe_server),
            Route("/v2/health/live", self._is_live),
            Route("/v2/health/ready", self._is_ready),
            *(
                route
                for path in (model, f"{model}/versions/{{version}}")
                for route in (
                    Route(path, self._describe),
                    Route(f"{path}/ready", self._model_is_ready),
                    Route(f"{path}/infer", self._infer, methods=["POST"]),
                )
            ),
        ]
        handlers: Any = {Refused: refuse, HTTPException: refuse_http}
        return Starlette(routes=routes, exception_handlers=handlers)

    # ---- questions about the server and its models -----------------------------------------------------------------

    async def _describe_server(self, _: "Request") -> "Response":
        return said(200, {"name": "leeway", "version": version_of("leeway"), "extensions": [*EXTENSIONS]})

    async def _is_live(self, _: "Request") -> "Response":
        return said(200, {"live": True})

    async def _is_ready(self, _: "Request") -> "Response":
        ready = self.ready()
        return said(200 if ready else 503, {"live": True, "ready": ready})

    async def _describe(self, request: "Request") -> "Response":
        entry, version = self._named(request)
        specs = await self._specs(version)
        return said(200, protocol.metadata(entry.name, () if version.bare else [*entry.versions], specs))

    async def _model_is_ready(self, request: "Request") -> "Response":
        entry, version = self._named(request)
        ready = self.ready() and version.ready
        return said(200 if ready else 503, {"name": entry.name, "ready": ready})

    def _named(self, request: "Request") -> tuple[Entry, Version]:
        name, wanted = request.path_params["model"], request.path_params.get("version")
        assert self.catalogue is not None
        entry = self.catalogue.entries.get(name)
        if entry is None:
            raise Refused(404, f"no model and no graph is called {name!r}")
        if wanted is not None and wanted not in entry.versions:
            raise Refused(404, f"{name} has no version {wanted!r}; versions: {', '.join(entry.versions)}")
        return entry, entry.versions[wanted] if wanted else next(iter(entry.versions.values()))

    async def _specs(self, version: Version) -> Specs:
        known = self.reader.known.get(protocol.key_of(version))
        return await asyncio.to_thread(self.reader.specs, version) if known is None else known

    # ---- inference ---------------------------------------------------------------------------------------------------

    async def _infer(self, request: "Request") -> "Response":
        from starlette.responses import Response

        arrived_ns = monotonic_ns()
        body, json_bytes = await self._body(request)
        entry, version = self._named(request)
        specs = await self._specs(version)
        question = self.reader.question(body, json_bytes, specs)
        if not self.ready():
            raise Refused(503, "not ready: models are being loaded, or the daemon stops")
        jobs = await self._answered(request, entry, version, question, arrived_ns)
        message = protocol.answer(question, entry.name, jobs[0].variant.name, [job.tensors for job in jobs])
        return Response(message.body, headers=message.headers())

    async def _body(self, request: "Request") -> tuple[bytes, int | None]:
        most, body = self.settings.body_mb << 20, bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise Refused(413, f"the body is longer than {self.settings.body_mb} MB (http.body_mb)")
        length = request.headers.get(LENGTH_HEADER)
        if length is not None and not length.isdecimal():
            raise Refused(400, f"{LENGTH_HEADER} is {length!r}; expected a number of bytes")
        return bytes(body), None if length is None else int(length)

    async def _answered(
        self, request: "Request", entry: Entry, version: Version, question: InferRequest, arrived_ns: Time
    ) -> list[TaskJob]:
        """Returns the job of each row.

        Raises `Refused`; then, or where the client is gone, rows that wait are withdrawn.
        """
        self._enter(len(question.rows))
        rows = Rows(len(question.rows), self._leave)
        asked = self._asked(entry, version, question, arrived_ns, rows)
        for each in asked:
            if not self.inbox.ask(each):
                each.told(Reply(0, "stopped"), ())
        gone: asyncio.Future[Any] = asyncio.ensure_future(
            request.receive()
        )  # the body is read: what comes now is the end of the connection
        try:
            await asyncio.wait([rows.over, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        bad = rows.over.result() if rows.over.done() else Reply(0, "withdrawn")
        if bad is None:
            return [job for job in rows.jobs if job is not None]
        for each in asked:
            self.inbox.withdraw(each)
        raise Refused(STATUS.get(bad.outcome, 503), f"{bad.outcome}: {bad.detail or 'dropped by the scheduler'}")

    def _asked(
        self, entry: Entry, version: Version, question: InferRequest, arrived_ns: Time, rows: Rows
    ) -> list[TensorRequest]:
        slo_ms, priority = self.limits.get(entry.name, (self.settings.slo_ms, 0))
        deadline_ns = arrived_ns + (question.timeout_ns or round(slo_ms * 1e6))
        return [
            TensorRequest(
                version.app, entry.stream, arrived_ns, deadline_ns,
                lambda reply, jobs, at=at: rows.told(at, reply, jobs), given, picture, priority,  # type: ignore[misc]
            )
            for at, (given, picture) in enumerate(question.rows)
        ]  # fmt: skip

    def _enter(self, count: int) -> None:
        with self.lock:
            if self.open + count > self.settings.open_max:
                raise Refused(503, f"busy: {self.open} rows are open, {self.settings.open_max} may be (http.open_max)")
            self.open += count

    def _leave(self) -> None:
        with self.lock:
            self.open -= 1


def said(status: int, table: Any) -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse(table, status)


async def refuse(_: "Request", error: Refused) -> "Response":
    return said(error.status, {"error": str(error)})


async def refuse_http(request: "Request", error: Any) -> "Response":
    return said(error.status_code, {"error": f"{request.method} {request.url.path}: {error.detail}"})


def version_of(name: str) -> str:
    try:
        return distribution.version(name)
    except distribution.PackageNotFoundError:
        return "unknown"
