"""The real world: one inbox, the monotonic clock, a lane's threads, the frames and results that ids stand for.

Everything here but `receive`, `post` and `call` runs on the loop thread; the door at `receive` is the only lock.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic_ns, sleep
from typing import Any

from edge.core.events import (
    Action,
    Arrived,
    Closing,
    Event,
    Evict,
    Load,
    Plan,
    Planned,
    Reply,
    Request,
    Run,
    Served,
    Stop,
    Task,
    Time,
    WakeAt,
    Withdrawn,
    Woke,
)
from edge.core.interfaces import Moment
from edge.data.frame import Frame
from edge.data.job import InFlightRequest, Listener, Step, TaskJob, WorkOrder
from edge.data.picture import Picture
from edge.data.tensor_request import TensorRequest
from edge.runtime.admission import AdmissionRules
from edge.runtime.lane import LaneThreads, lane_up
from porting.variant import Stage, Variant

TICK_NS = 200_000_000  # observers get a look at the world at least this often
INBOX_FRAMES_MAX = 256  # frames posted and not yet looked at; beyond it they are dropped as "inbox_full",
INBOX_BYTES_MAX = 64 * 1024 * 1024  # and beyond this many bytes of them
STREAMS_MAX = 256  # cameras times apps; names come from topics, so their number needs a limit
OTHERS = "(others)"  # cameras beyond that many
# Python lets one thread run at a time: time for a lane's to wake and go on to code without that lock.
HANDOVER_S = 20e-6
STREAM_OPEN_MAX = 32  # unanswered requests of one stream; beyond it the new frame is dropped as "stream_full"


class LiveWorld:
    """World of the daemon. `listen` and `do` are called by the loop; `receive` by the network thread."""

    def __init__(self, rules: AdmissionRules, lanes: Mapping[str, LaneThreads], listeners: Sequence[Listener]):
        self.rules = rules
        self.lanes = lanes
        self.listeners = listeners
        self.inbox: SimpleQueue[Event | Frame | TensorRequest | BaseException | Callable[[], None] | None] = (
            SimpleQueue()
        )
        self.ready: deque[Event] = deque()
        self.stages: dict[str, Stage] = {}
        self.variants: dict[tuple[str, tuple[str, ...]], Variant] = {}
        self.open: dict[int, InFlightRequest] = {}
        self.by_stream: dict[tuple[str, str], list[int]] = {}
        self.door = Lock()  # frames come in one by one, and none after the last look
        self.shut = False
        self.inbox_bytes = 0  # of frames
        self.inbox_full: Counter[str] = Counter()
        self.inbox_full_told: Counter[str] = Counter()
        self.replies: list[Reply] = []  # of this moment
        self.gave_work = False  # to a lane, at this moment
        self.works: dict[str, int] = {}  # lane -> the work that it was given last
        self.ids = count(1)
        self.wake_ns: Time | None = None
        self.heard_ns: Time = monotonic_ns()  # when the core last heard of something
        self.draining = False
        self.recall: Callable[[InFlightRequest], Reply | None] = lambda opened: None  # an answer that needs no lane

    # ---- the loop's two calls ----------------------------------------------------------------------------------

    def listen(self) -> tuple[Time, Event] | None:
        """Wait for the next event; None ends the run."""
        self._tell_replies()
        self.gave_work = False
        while not self.ready:
            if self.draining and not self.open:
                self._shut_the_door()
                return None
            self._take_from_inbox()
        event = self.ready.popleft()
        if isinstance(event, Served):
            self._learn(event)
        self.heard_ns = monotonic_ns()
        return self.heard_ns, event

    def do(self, action: Action) -> None:
        match action:
            case Run():
                self._run(action)
            case Reply():
                self.replies.append(action)  # told once everything else is under way: the lane need not wait for that
            case WakeAt(time_ns):
                self.wake_ns = time_ns
            case Load(lane, stage):
                self.lanes[lane].load(self.stages[stage])
            case Evict(lane, stage):
                self.lanes[lane].evict(stage)
            case Stop(work_id):
                for name in [name for name, given in self.works.items() if given == work_id]:
                    self.lanes[name].stop(work_id)

    def post(self, event: Event | BaseException) -> None:
        """From any thread."""
        self.inbox.put(event)

    def call(self, word: Callable[[], None]) -> None:
        """From any thread: have something done on the loop thread."""
        self.inbox.put(word)

    def _take_from_inbox(self) -> None:
        now = monotonic_ns()
        until = min(self.heard_ns + TICK_NS, self.wake_ns or self.heard_ns + TICK_NS)
        try:
            if until <= now:  # also where frames keep coming that the core never hears of: dropped, or known already
                raise Empty
            item = self.inbox.get(timeout=(until - now) / 1e9)
        except Empty:
            self.wake_ns = None
            self.ready.append(Woke())
            return
        self._tell_inbox_full()
        match item:
            case None:
                self.close()
            case Frame():
                self._took(item)
                self._admit(item)
            case TensorRequest():
                self._admit_asked(item)
            case BaseException():
                raise item
            case _ if callable(item):
                item()
            case _:
                self.ready.append(item)

    # ---- frames in ---------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        """From the network thread: hand a frame over; where the loop is far behind it is counted as dropped.

        False: the run is over, and its books are closed; it is in none of them.
        """
        with self.door:
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

    def _took(self, frame: Frame) -> None:
        with self.door:
            self.inbox_bytes -= len(frame.payload)

    def _admit(self, frame: Frame) -> None:
        stream = self.rules.stream(frame.camera)
        if stream is None or not stream.enabled or self.draining:
            reason = "unknown_camera" if stream is None else "stopped" if self.draining else "disabled"
            self._drop(frame.camera, "", reason)
            return
        picture = Picture(frame.payload)
        for app in stream.apps:
            waiting = self._waiting(frame.camera, app)
            if waiting is None:
                self._drop(frame.camera, "", "too_many_cameras")  # no app: nobody keeps books for such a stream
                continue
            if len(waiting) >= STREAM_OPEN_MAX:
                self._drop(frame.camera, app, "stream_full")
                continue
            request = self._request(app, frame.camera, frame.received_ns)
            opened = self.open[request.id] = InFlightRequest(request, frame, picture)
            for listener in self.listeners:
                listener.arrived(frame.camera)
            if (reply := self.recall(opened)) is not None:
                self._reply(reply)
                continue
            self._withdraw_oldest(waiting, stream.waiting_max)
            waiting.append(request.id)
            self.ready.append(Arrived(request))

    def _waiting(self, camera: str, app: str) -> list[int] | None:
        """Unanswered requests of a stream, oldest first; None where there are too many streams already."""
        expected = (camera, app) in self.by_stream or camera in self.rules.streams
        if not expected and len(self.by_stream) >= STREAMS_MAX:
            return None
        return self.by_stream.setdefault((camera, app), [])

    def _withdraw_oldest(self, waiting: list[int], waiting_max: int) -> None:
        idle = [request_id for request_id in waiting if not self.open[request_id].begun]
        for request_id in idle[: max(0, len(idle) - waiting_max + 1)]:
            self.ready.append(Withdrawn(request_id, "superseded"))

    def _tell_inbox_full(self) -> None:
        if not self.inbox_full:
            return
        with self.door:
            totals = dict(self.inbox_full)
        for camera, total in totals.items():
            for _ in range(total - self.inbox_full_told[camera]):
                self._drop(camera, "", "inbox_full")
            self.inbox_full_told[camera] = total

    def ask(self, asked: TensorRequest) -> bool:
        """From any thread: a request with tensors of its own; whoever asks bounds how many. False: the run is over."""
        with self.door:
            if not self.shut:
                self.inbox.put(asked)
            return not self.shut

    def _admit_asked(self, asked: TensorRequest) -> None:
        if asked.withdrawn or self.draining:
            reply = Reply(0, "withdrawn" if asked.withdrawn else "stopped")
            self._drop(asked.stream, "", reply.outcome)
            asked.told(reply, ())
            return
        request = Request(next(self.ids), asked.app, asked.stream, asked.arrived_ns, asked.deadline_ns, asked.priority)
        asked.request_id = request.id
        self.open[request.id] = InFlightRequest(
            request, None, asked.picture, given=asked.given, on_reply=lambda opened, reply: tell(asked, opened, reply)
        )
        for listener in self.listeners:
            listener.arrived(asked.stream)
        self.ready.append(Arrived(request))

    def _request(self, app: str, camera: str, arrived_ns: Time) -> Request:
        options = self.rules.apps[app]
        deadline_ns = arrived_ns + round(options.slo_ms * 1e6)
        return Request(next(self.ids), app, camera, arrived_ns, deadline_ns, options.priority)

    def _drop(self, camera: str, app: str, reason: str) -> None:
        for listener in self.listeners:
            listener.dropped(camera, app, reason)

    # ---- work without a deadline -------------------------------------------------------------------------------

    def submit(
        self,
        app: str,
        on_reply: Callable[[InFlightRequest, Reply], None],
        picture: Picture | None = None,
        step: Step | None = None,
        priority: int = 0,
    ) -> int:
        """Background work, from the loop thread: a picture through a model, or a job of short steps."""
        request = Request(next(self.ids), app, "background", monotonic_ns(), priority=priority)
        self.open[request.id] = InFlightRequest(request, None, picture, step, on_reply=on_reply)
        self.ready.append(Arrived(request))
        return request.id

    # ---- orders ------------------------------------------------------------------------------------------------

    def _run(self, run: Run) -> None:
        jobs = tuple(self._job(task) for task in run.tasks)
        self.gave_work, self.works[run.lane] = True, run.work_id
        self.lanes[run.lane].run(WorkOrder(run, tuple(self.stages[digest] for digest in run.stages), jobs))

    def _job(self, task: Task) -> TaskJob:
        opened = self.open[task.request]
        job = opened.jobs.get(task.id)
        if job is None:
            variant = self.variants[task.model, task.chain]
            picture = self._picture(opened, task)
            job = TaskJob(task.model, variant, picture, opened.step, task.parent, task.item, given=opened.given)
            opened.jobs[task.id] = job
            opened.begun = True
        elif job.variant.stages != task.chain:  # it goes on as another variant
            job.variant = self.variants[task.model, task.chain]
        return job

    def _picture(self, opened: InFlightRequest, task: Task) -> Picture | None:
        if task.parent is None:
            return opened.picture
        return Picture(pixels=opened.jobs[task.parent].outcome.crops[task.item])

    def _tell_replies(self) -> None:
        if not self.replies:
            return
        if self.gave_work:
            sleep(HANDOVER_S)
        replies, self.replies = self.replies, []
        for reply in replies:
            self._reply(reply)

    def _reply(self, reply: Reply) -> None:
        opened = self.open.pop(reply.request_id)
        request = opened.request
        waiting = self.by_stream.get((request.stream, request.app))
        if waiting is not None and request.id in waiting:
            waiting.remove(request.id)
        now = monotonic_ns()
        for listener in self.listeners:
            listener.replied(opened, reply, now)
        if opened.on_reply is not None:
            opened.on_reply(opened, reply)

    def _learn(self, served: Served) -> None:
        self.stages.update((stage.digest, stage) for stage in served.stages)
        for variant in (served.variant, *served.others):
            self.variants[variant.model, variant.stages] = variant

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        """Forget with the core: stages and variants that nothing serves, holds or walks any more."""
        if isinstance(moment.event, Served):
            state = moment.state
            models = state.models.values()
            serving = [known for it in models for known in (it.serving, it.pending, *it.variants.values())]
            kept = {(variant.model, variant.stages) for variant in serving if variant}
            self.stages = {digest: stage for digest, stage in self.stages.items() if digest in state.stages}
            self.variants = {
                key: variant for key, variant in self.variants.items() if key in kept or key[1] in state.flights
            }
        return ()

    # ---- begin and end -----------------------------------------------------------------------------------------

    def start(self, served: Iterable[Served], background: float) -> None:
        """Lanes come up, models are loaded; `background` is the share for work without a deadline."""
        self.ready.append(Planned(Plan(background)))
        for lane in self.lanes.values():
            lane.start()
            self.ready.append(lane_up(lane.device))
        self.ready.extend(served)

    def ask_to_stop(self) -> None:
        """From any thread or a signal handler: answer what is open, then end."""
        self.inbox.put(None)

    def close(self) -> None:
        if not self.draining:
            self.draining = True
            self.ready.append(Closing())

    def _shut_the_door(self) -> None:
        """Count what came since the closing began; what comes from now on is refused."""
        with self.door:
            self.shut = True
        self._tell_inbox_full()
        while not self.inbox.empty():
            item = self.inbox.get()
            if isinstance(item, Frame):
                self._drop(item.camera, "", "stopped")
            elif isinstance(item, TensorRequest):
                self._admit_asked(item)  # which turns it away

    def __enter__(self) -> "LiveWorld":
        return self

    def __exit__(self, *_: Any) -> None:
        for lane in self.lanes.values():
            lane.close()


def tell(asked: TensorRequest, opened: InFlightRequest, reply: Reply) -> None:
    asked.told(reply, [opened.jobs[task] for task in reply.tasks])
