"""Decides which frames and tensor requests become requests of the core, within limits on memory and streams."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from threading import Lock
from typing import Protocol

from edge.core.events import Arrived, Event, Reply, Request, Time, Withdrawn
from edge.data.frame import Frame
from edge.data.job import InFlightRequest
from edge.data.picture import Picture
from edge.data.tensor_request import TensorRequest
from edge.runtime.in_flight_requests import InFlightRequests

INBOX_FRAMES_MAX = 256  # frames posted and not yet looked at; beyond it they are dropped as "inbox_full",
INBOX_BYTES_MAX = 64 * 1024 * 1024  # and beyond this many bytes of them
STREAMS_MAX = 256  # cameras times apps; names come from topics, so their number needs a limit
OTHERS = "(others)"  # cameras beyond that many
STREAM_OPEN_MAX = 32  # unanswered requests of one stream; beyond it the new frame is dropped as "stream_full"

# What threads post to the loop: a function is called there, an exception is raised there, None begins the end.
Posted = Event | Frame | TensorRequest | BaseException | Callable[[], None] | None


class AppRules(Protocol):
    """Says what an app allows each of its frames."""

    @property
    def slo_ms(self) -> float: ...
    @property
    def priority(self) -> int: ...


class StreamRules(Protocol):
    """Says which apps a camera's frames go through, and how many of them may wait."""

    @property
    def apps(self) -> Sequence[str]: ...
    @property
    def waiting_max(self) -> int: ...
    @property
    def enabled(self) -> bool: ...


class AdmissionRules(Protocol):
    """Holds the rules for frames that come in: apps and streams by name, as `edge.yaml` has them."""

    @property
    def apps(self) -> Mapping[str, AppRules]: ...
    @property
    def streams(self) -> Mapping[str, StreamRules]: ...
    def stream(self, name: str) -> StreamRules | None: ...


class LiveAdmission:
    """Takes frames and tensor requests into the inbox, and from there into the core.

    `receive` and `ask` may be called from any thread, all else runs on the loop thread. Their lock is the only one of
    the live world: frames come in one by one, and none after `close`.

    Args:
        inbox: where threads post to the loop.
        ready: events that the core hears of next; arrivals and withdrawals are appended.

    Attributes:
        draining: the daemon is stopping; whatever comes is dropped as "stopped".
        recall: returns an answer that needs no lane, or None.
    """

    def __init__(
        self, rules: AdmissionRules, requests: InFlightRequests, inbox: SimpleQueue[Posted], ready: deque[Event]
    ):
        self.rules, self.requests, self.inbox, self.ready = rules, requests, inbox, ready
        self.lock = Lock()
        self.shut = False
        self.inbox_bytes = 0  # of frames
        self.inbox_full: Counter[str] = Counter()
        self.inbox_full_told: Counter[str] = Counter()
        self.draining = False
        self.recall: Callable[[InFlightRequest], Reply | None] = lambda opened: None

    # ---- from any thread ---------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        """Puts a frame into the inbox, or counts it as dropped where the loop is too far behind.

        Returns False where the run is over: the frame is not counted anywhere.
        """
        with self.lock:
            if self.shut:
                return False
            size = self.inbox_bytes + len(frame.payload)
            if self.inbox.qsize() > INBOX_FRAMES_MAX or (self.inbox_bytes and size > INBOX_BYTES_MAX):
                camera = frame.camera
                known = camera in self.inbox_full or camera in self.rules.streams
                self.inbox_full[camera if known or len(self.inbox_full) < STREAMS_MAX else OTHERS] += 1
            else:
                self.inbox_bytes = size
                self.inbox.put(frame)
        return True

    def ask(self, asked: TensorRequest) -> bool:
        """Puts a tensor request into the inbox; the caller bounds how many. Returns False where the run is over."""
        with self.lock:
            if not self.shut:
                self.inbox.put(asked)
            return not self.shut

    # ---- from the loop thread ----------------------------------------------------------------------------------

    def admit(self, frame: Frame) -> None:
        """Opens a request for each app of the frame's stream, or drops the frame with a reason."""
        with self.lock:
            self.inbox_bytes -= len(frame.payload)
        stream = self.rules.stream(frame.camera)
        if stream is None or not stream.enabled or self.draining:
            reason = "unknown_camera" if stream is None else "stopped" if self.draining else "disabled"
            self.requests.drop(frame.camera, "", reason)
            return
        picture = Picture(frame.payload)
        for app in stream.apps:
            self._open(frame, picture, app, stream.waiting_max)

    def admit_tensors(self, asked: TensorRequest) -> None:
        """Opens a request, or turns it away where it was withdrawn or the daemon stops."""
        if asked.withdrawn or self.draining:
            reply = Reply(0, "withdrawn" if asked.withdrawn else "stopped")
            self.requests.drop(asked.stream, "", reply.outcome)
            asked.told(reply, ())
            return
        request = Request(
            next(self.requests.ids), asked.app, asked.stream, asked.arrived_ns, asked.deadline_ns, asked.priority
        )
        asked.request_id = request.id
        self.requests.arrive(
            InFlightRequest(
                request,
                None,
                asked.picture,
                given=asked.given,
                on_reply=lambda opened, reply: tell(asked, opened, reply),
            )
        )
        self.ready.append(Arrived(request))

    def tell_inbox_full(self) -> None:
        """Tells the listeners of the frames that `receive` has dropped since the last call."""
        if not self.inbox_full:
            return
        with self.lock:
            totals = dict(self.inbox_full)
        for camera, total in totals.items():
            for _ in range(total - self.inbox_full_told[camera]):
                self.requests.drop(camera, "", "inbox_full")
            self.inbox_full_told[camera] = total

    def close(self) -> None:
        """Drops what has come since the draining began, as "stopped"; what comes from now on is refused."""
        with self.lock:
            self.shut = True
        self.tell_inbox_full()
        while not self.inbox.empty():
            item = self.inbox.get()
            if isinstance(item, Frame):
                self.requests.drop(item.camera, "", "stopped")
            elif isinstance(item, TensorRequest):
                self.admit_tensors(item)  # which turns it away

    def _open(self, frame: Frame, picture: Picture, app: str, waiting_max: int) -> None:
        waiting = self._waiting(frame.camera, app)
        if waiting is None:
            self.requests.drop(frame.camera, "", "too_many_cameras")  # no app, since nothing is kept of such a stream
            return
        if len(waiting) >= STREAM_OPEN_MAX:
            self.requests.drop(frame.camera, app, "stream_full")
            return
        request = self._request(app, frame.camera, frame.received_ns)
        opened = InFlightRequest(request, frame, picture)
        self.requests.arrive(opened)
        if (reply := self.recall(opened)) is not None:
            self.requests.reply(reply)
            return
        self._withdraw_oldest(waiting, waiting_max)
        waiting.append(request.id)
        self.ready.append(Arrived(request))

    def _waiting(self, camera: str, app: str) -> list[int] | None:
        """Returns the unanswered requests of a stream, oldest first; None where there are too many streams already."""
        by_stream = self.requests.by_stream
        expected = (camera, app) in by_stream or camera in self.rules.streams
        if not expected and len(by_stream) >= STREAMS_MAX:
            return None
        return by_stream.setdefault((camera, app), [])

    def _withdraw_oldest(self, waiting: list[int], waiting_max: int) -> None:
        idle = [request_id for request_id in waiting if not self.requests.open[request_id].begun]
        for request_id in idle[: max(0, len(idle) - waiting_max + 1)]:
            self.ready.append(Withdrawn(request_id, "superseded"))

    def _request(self, app: str, camera: str, arrived_ns: Time) -> Request:
        options = self.rules.apps[app]
        deadline_ns = arrived_ns + round(options.slo_ms * 1e6)
        return Request(next(self.requests.ids), app, camera, arrived_ns, deadline_ns, options.priority)


def tell(asked: TensorRequest, opened: InFlightRequest, reply: Reply) -> None:
    """Hands the sender of a tensor request the answer and the jobs that make it."""
    asked.told(reply, [opened.jobs[task] for task in reply.tasks])
