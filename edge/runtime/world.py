"""Runs the daemon in real time: one inbox, the monotonic clock, a lane's threads, and the jobs that ids stand for.

Everything but `receive`, `ask`, `post`, `call` and `ask_to_stop` runs on the loop thread.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
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
    Woke,
)
from edge.core.interfaces import Moment
from edge.data.frame import Frame
from edge.data.job import InFlightRequest, Listener, Step, TaskJob, WorkOrder
from edge.data.picture import Picture
from edge.data.tensor_request import TensorRequest
from edge.runtime.admission import AdmissionRules, LiveAdmission, Posted
from edge.runtime.in_flight_requests import InFlightRequests
from edge.runtime.lane import LaneThreads, lane_up
from porting.variant import Stage, Variant

TICK_NS = 200_000_000  # observers get a look at the world at least this often
# Python lets one thread run at a time: this lets a lane's thread wake and go on to code that needs no such lock.
HANDOVER_S = 20e-6


class LiveWorld:
    """Implements `edge.core.interfaces.World` with threads and the monotonic clock.

    The loop calls `listen` and `do`, the network threads `receive` and `ask`.

    Attributes:
        open: the unanswered requests by id.
        by_stream: their ids by camera and app, oldest first.
    """

    def __init__(self, rules: AdmissionRules, lanes: Mapping[str, LaneThreads], listeners: Sequence[Listener]):
        self.lanes = lanes
        self.listeners = listeners
        self.inbox: SimpleQueue[Posted] = SimpleQueue()
        self.ready: deque[Event] = deque()
        self.requests = InFlightRequests(listeners)
        self.open, self.by_stream = self.requests.open, self.requests.by_stream
        self.admission = LiveAdmission(rules, self.requests, self.inbox, self.ready)
        self.stages: dict[str, Stage] = {}
        self.variants: dict[tuple[str, tuple[str, ...]], Variant] = {}
        self.replies: list[Reply] = []  # of this moment
        self.gave_work = False  # to a lane, at this moment
        self.works: dict[str, int] = {}  # lane -> the work that it was given last
        self.wake_ns: Time | None = None
        self.heard_ns: Time = monotonic_ns()  # when the core last heard of something

    @property
    def draining(self) -> bool:
        """Returns whether the daemon is stopping."""
        return self.admission.draining

    # ---- the loop's two calls ----------------------------------------------------------------------------------

    def listen(self) -> tuple[Time, Event] | None:
        """Waits for the next event and returns it with its time; None ends the run.

        Raises an exception that a thread posted: a bug of ours.
        """
        self._tell_replies()
        self.gave_work = False
        while not self.ready:
            if self.draining and not self.open:
                self.admission.close()
                return None
            self._take_from_inbox()
        event = self.ready.popleft()
        if isinstance(event, Served):
            self._learn(event)
        self.heard_ns = monotonic_ns()
        return self.heard_ns, event

    def do(self, action: Action) -> None:
        """Begins what the core ordered, and returns at once. Replies are told in the next `listen`."""
        match action:
            case Run():
                self._run(action)
            case Reply():
                self.replies.append(action)  # told once everything else is under way, so that the lane need not wait
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
        """Queues an event, or an exception to raise on the loop thread. May be called from any thread."""
        self.inbox.put(event)

    def call(self, word: Callable[[], None]) -> None:
        """Has a function called on the loop thread. May be called from any thread."""
        self.inbox.put(word)

    def _take_from_inbox(self) -> None:
        now = monotonic_ns()
        until = min(self.heard_ns + TICK_NS, self.wake_ns or self.heard_ns + TICK_NS)
        try:
            if until <= now:  # also where all frames are dropped or known already, and the core hears of none
                raise Empty
            item = self.inbox.get(timeout=(until - now) / 1e9)
        except Empty:
            self.wake_ns = None
            self.ready.append(Woke())
            return
        self.admission.tell_inbox_full()
        match item:
            case None:
                self.close()
            case Frame():
                self.admission.admit(item)
            case TensorRequest():
                self.admission.admit_tensors(item)
            case BaseException():
                raise item
            case _ if callable(item):
                item()
            case _:
                self.ready.append(item)

    # ---- frames and tensors in -----------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        """Hands a frame over, from any thread. Returns False where the run is over; see `LiveAdmission.receive`."""
        return self.admission.receive(frame)

    def ask(self, asked: TensorRequest) -> bool:
        """Hands a tensor request over, from any thread. Returns False where the run is over."""
        return self.admission.ask(asked)

    # ---- work without a deadline -------------------------------------------------------------------------------

    def submit(
        self,
        app: str,
        on_reply: Callable[[InFlightRequest, Reply], None],
        picture: Picture | None = None,
        step: Step | None = None,
        priority: int = 0,
    ) -> int:
        """Queues work without a deadline, a picture through a model or a job of short steps, and returns its id.

        `on_reply` is called on the loop thread.
        """
        request = Request(next(self.requests.ids), app, "background", monotonic_ns(), priority=priority)
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
            self.requests.reply(reply)

    def _learn(self, served: Served) -> None:
        self.stages.update((stage.digest, stage) for stage in served.stages)
        for variant in (served.variant, *served.others):
            self.variants[variant.model, variant.stages] = variant

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        """Forgets stages and variants when the core does: those that nothing serves, holds or walks any more."""
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
        """Starts the lanes and has the models loaded; `background` is the share of time for work without a deadline."""
        self.ready.append(Planned(Plan(background)))
        for lane in self.lanes.values():
            lane.start()
            self.ready.append(lane_up(lane.device))
        self.ready.extend(served)

    def ask_to_stop(self) -> None:
        """Answers what is open, then ends the run. May be called from any thread or a signal handler."""
        self.inbox.put(None)

    def close(self) -> None:
        """Begins the end of the run, on the loop thread: new frames are dropped, open requests still answered."""
        if not self.draining:
            self.admission.draining = True
            self.ready.append(Closing())

    def __enter__(self) -> "LiveWorld":
        return self

    def __exit__(self, *_: Any) -> None:
        for lane in self.lanes.values():
            lane.close()
