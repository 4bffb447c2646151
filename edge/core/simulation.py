"""Simulates lanes and clients with a heap, a seed and injected faults. Same seed, same moments, to the byte."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from edge.core.events import (
    NEVER,
    Action,
    Arrived,
    Closing,
    Event,
    Evict,
    Evicted,
    Failed,
    Finished,
    LaneDown,
    LaneUp,
    Load,
    Loaded,
    LoadFailed,
    Reply,
    Request,
    Run,
    Served,
    StepResult,
    Stop,
    Stopped,
    Task,
    Time,
    WakeAt,
    Withdrawn,
    Woke,
)
from edge.core.state import Estimator
from porting.variant import Stage

LOAD_NS = 1_000_000  # of any stage, beside a nanosecond for each of its bytes
DOWN_NS = 50_000_000  # for which a lane that fell stays away

# model -> kind -> the most items found in a frame, drawn evenly; or what this very task finds, whichever policy runs it
Detections = Mapping[str, Mapping[str, int]] | Callable[[Task], Mapping[str, int]]


@dataclass(frozen=True)
class Faults:
    """Holds the chances of faults, 0..1."""

    failed: float = 0.0  # of a work; every other time the lane says which task it was
    stopped: float = 0.0  # of a work
    slow: float = 0.0  # of a work, to take ten times as long
    lane_down: float = 0.0  # of a work, to lose its lane
    late: float = 0.0  # of what a lost lane was doing, to be heard of nevertheless
    load_failed: float = 0.0  # of a load
    evicted: float = 0.0  # of a work, to cost the lane one of its stages
    withdrawn: float = 0.0  # of a request
    served: float = 0.0  # of a request, to meet the next promotion


class SimulatedWorld:
    """Plays the world for tests, benchmarks and searches.

    `arrivals`: requests in order of time, taken one by one. `detections`: see `Detections`.
    `profile`: how long a batch really takes. Beside it goes noise: up to the share `noise`
    more or less, or, where `slowdown` is given, a half-normal share more and never less: then the profile is a floor
    that bounds can stand on. A profile with `draw_ns(stage, batch, lane, random)` brings its own noise.
    `waiting_max`: stream -> frames of it that may wait for an app; a newer one takes the oldest's place.
    `promotions`: served one after the other, at times that `faults.served` decides, over and over again.
    When nothing more can happen it closes the core, so that every request is answered.
    """

    def __init__(
        self,
        seed: int,
        arrivals: Iterable[Request],
        lanes: Sequence[LaneUp],
        served: Sequence[Served],
        detections: Detections | None = None,
        faults: Faults | None = None,
        promotions: Sequence[Served] = (),
        noise: float = 0.1,
        slowdown: float = 0.0,
        waiting_max: Mapping[str, int] | None = None,
        *,
        profile: Estimator,
    ):
        self.random = Random(seed)
        self.arrivals = iter(arrivals)
        self.detections: Detections = {} if detections is None else detections
        self.faults = faults
        self.promotions = promotions
        self.promoted = 0
        self.noise = noise
        self.slowdown = slowdown
        self.now: Time = 0
        self.events = 0
        self.replies: list[tuple[Time, Reply]] = []
        self.requests: list[Request] = []
        self.stages: dict[str, Stage] = {}
        self.lanes = {lane.lane: lane for lane in lanes}
        self.lives = dict.fromkeys(self.lanes, 0)  # what was begun in an earlier life of a lane does not end
        self.falling: set[str] = set()
        self.over: set[int] = set()  # works that were stopped
        self.wake_ns: Time = NEVER
        self.closed = False
        self.profile = profile
        self.draw_ns: Callable[[Stage, int, str, Random], int] | None = getattr(self.profile, "draw_ns", None)
        self.waiting_max = waiting_max or {}
        self.waiting: dict[tuple[str, str], dict[int, None]] = {}  # app, stream -> requests that have not begun
        self.heap: list[tuple[Time, int, str, int, Event]] = []
        self.pushed = 0
        self.arriving = next(self.arrivals, None)
        for up in lanes:
            self.post(up)
        for pointer in served:
            self.post(pointer)

    # ---- the loop's three calls ------------------------------------------------------------------------------------

    def listen(self) -> tuple[Time, Event] | None:
        """Returns the next event; `Closing` when there is none any more; `None` after it."""
        self.events += 1
        heap = self.heap
        while heap or self.arriving is not None:
            arriving = self.arriving
            if arriving is not None and (not heap or arriving.arrived_ns <= heap[0][0]):
                return self._arrive(arriving)
            time, _, lane, life, event = heappop(heap)
            if self._stale(time, lane, life, event):
                continue
            self.now = max(self.now, time)
            self._note(event)
            return self.now, event
        if self.closed:
            return None
        self.closed = True
        return self.now, Closing()

    def do(self, action: Action) -> None:
        """Carries an action out in virtual time."""
        match action:
            case Run():
                self._run(action)
            case Reply():
                self.replies.append((self.now, action))
                self._no_longer_wait((action.request_id,))
            case WakeAt(time_ns):
                self.wake_ns = time_ns
                self._push(time_ns, Woke())
            case Load(lane, digest):
                self._load(lane, digest)
            case Evict(lane, digest):
                self._push(self.now, Evicted(lane, digest), lane)
            case Stop(work_id):
                self.over.add(work_id)
                self._push(self.now, Stopped(work_id))

    def post(self, event: Event) -> None:
        """Queues an event for now."""
        self._push(self.now, event)

    # ---- time --------------------------------------------------------------------------------------------------------

    def _push(self, time_ns: Time, event: Event, lane: str = "") -> None:
        self.pushed += 1
        heappush(self.heap, (time_ns, self.pushed, lane, self.lives.get(lane, 0), event))

    def _stale(self, time: Time, lane: str, life: int, event: Event) -> bool:
        if lane and life != self.lives[lane]:
            return not (self.faults and self.random.random() < self.faults.late)
        if type(event) is Woke:
            return time != self.wake_ns
        return type(event) is Finished and event.work_id in self.over

    def _note(self, event: Event) -> None:
        """Learns from what the world is about to tell."""
        match event:
            case Served(_, stages):
                self.stages.update((stage.digest, stage) for stage in stages)
            case LaneDown(lane, _):
                self.lives[lane] += 1
                self._push(self.now + DOWN_NS, self.lanes[lane])
            case LaneUp(lane):
                self.falling.discard(lane)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def _arrive(self, request: Request) -> tuple[Time, Event]:
        self.now = max(self.now, request.arrived_ns)
        self.arriving = next(self.arrivals, None)
        self.requests.append(request)
        if self.faults is not None:
            self._trouble_request(request, self.faults)
        if request.stream in self.waiting_max:
            self._supersede(request)
        return self.now, Arrived(request)

    def _supersede(self, request: Request) -> None:
        waiting = self.waiting.setdefault((request.app, request.stream), {})
        oldest = len(waiting) - self.waiting_max[request.stream] + 1
        for request_id in [*waiting][: max(0, oldest)]:
            self._push(self.now, Withdrawn(request_id))
            del waiting[request_id]
        waiting[request.id] = None

    def _no_longer_wait(self, request_ids: Iterable[int]) -> None:
        for waiting in self.waiting.values():
            for request_id in request_ids:
                waiting.pop(request_id, None)

    def _trouble_request(self, request: Request, faults: Faults) -> None:
        if self.random.random() < faults.withdrawn:
            self._push(self.now + self.random.randrange(30_000_000), Withdrawn(request.id))
        if self.promotions and self.random.random() < faults.served:
            self.post(self.promotions[self.promoted % len(self.promotions)])
            self.promoted += 1

    # ---- works -------------------------------------------------------------------------------------------------------

    def _run(self, run: Run) -> None:
        took_ns = self._took_ns(run)
        if self.waiting:
            self._no_longer_wait([task.request for task in run.tasks])
        faults = self.faults
        if faults is not None:
            took_ns *= 10 if self.random.random() < faults.slow else 1
            self._trouble_lane(run, took_ns, faults)
            if self.random.random() < faults.failed:
                at_fault = (run.tasks[-1].id,) if self.random.random() < 0.5 else ()
                self._push(self.now + took_ns, Failed(run.work_id, "injected", at_fault), run.lane)
                return
            if self.random.random() < faults.stopped:
                self._push(self.now + took_ns // 2, Stopped(run.work_id), run.lane)
                return
        results = {task.id: self._result(run, task) for task in run.tasks}
        self._push(self.now + took_ns, Finished(run.work_id, results), run.lane)

    def _took_ns(self, run: Run) -> int:
        batch = len(run.tasks)
        if self.draw_ns is not None:
            return sum([self.draw_ns(self.stages[digest], batch, run.lane, self.random) for digest in run.stages])
        profiled = sum([self.profile.duration_ns(self.stages[digest], batch, run.lane) for digest in run.stages])
        if self.slowdown:
            return round(profiled * (1 + abs(self.random.gauss(0.0, self.slowdown))))
        return max(1, round(profiled * (1 + self.noise * (2 * self.random.random() - 1))))

    def _trouble_lane(self, run: Run, took_ns: int, faults: Faults) -> None:
        if self.random.random() < faults.evicted:
            self._push(self.now + took_ns // 2, Evicted(run.lane, run.stages[-1]), run.lane)
        if run.lane not in self.falling and self.random.random() < faults.lane_down:
            self.falling.add(run.lane)
            self._push(self.now + took_ns // 2, LaneDown(run.lane, "injected"))

    def _result(self, run: Run, task: Task) -> StepResult:
        if self.stages[run.stages[-1]].is_step:
            done = self.random.random() < 0.2
            return StepResult(done=done, next=None if done else task.at)
        if task.at + len(run.stages) < len(task.chain):
            return StepResult(done=False)
        if callable(self.detections):
            return StepResult(children=self.detections(task))
        detections = self.detections.get(task.model)
        if detections is None:
            return StepResult()
        return StepResult(children={kind: self.random.randint(0, most) for kind, most in detections.items()})

    def _load(self, lane: str, digest: str) -> None:
        ready_ns = self.now + LOAD_NS + self.stages[digest].memory_bytes
        failed = self.faults is not None and self.random.random() < self.faults.load_failed
        self._push(ready_ns, LoadFailed(lane, digest, "injected") if failed else Loaded(lane, digest), lane)
