"""Implements DeepRT's admission: admits a camera if all admitted ones stay in time beside it, else refuses it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

from edge.core.events import Action, Arrived, Event, Reply, Request, Task, Time
from edge.core.interfaces import Moment, Policy
from edge.core.state import Lane, State
from edge.meters.arrival_rate import RateMeter
from edge.meters.new_requests import Newcomers
from edge.meters.traffic import Traffic
from edge.plugins import About
from edge.policies.blocks.feasibility import largest
from edge.policies.blocks.schedulability import schedulable

STREAMS_MAX = 10_000  # streams known at a time, to bound memory; the one that arrived first is forgotten first
DEPTH_MAX = 8  # models one behind the other in an app; bounds the recursion where models lead to each other
WOBBLE = 0.1  # frames per window by which a measured rate may be too high


@dataclass(slots=True)
class AdmittedStream:
    """Describes one camera for one app. `admitted` is None until its first trial is over."""

    name: str
    model: str
    window_ns: Time
    first_ns: Time  # arrival of its first frame
    last_ns: Time  # arrival of its latest frame
    admitted: bool | None = None


@dataclass
class StreamAdmission:
    """Refuses frames of streams that would make admitted streams late.

    In each window the frames of one model and SLO form one job, which is released at the end of the window and due at
    the end of the next. A stream is admitted if these jobs, with its own frames included, can all be in time. A new
    stream is served on trial while its rate is measured.

    `inner`: any policy.
    `trial_s`: seconds after which a new stream is judged, and refused ones are judged again.
    `again_s`: seconds of silence after which a stream is forgotten and its place is free.
    `share`: length of a window as a part of the SLO.
    """

    inner: Policy
    trial_s: float = 1.0
    again_s: float = 10.0
    share: float = 0.5

    about: ClassVar[About] = About(
        paper="DeepRT: Yang et al., SEC 2021 (arXiv 2105.01803); Jeffay, Stanat and Martel, RTSS 1991",
        sources={
            "inner": "ours: any policy may be wrapped",
            "trial_s": "ours: cameras do not declare their rate; the paper's clients do",
            "again_s": "ours: in the paper a client announces that it leaves",
            "share": "the paper: windows of half the relative deadline",
        },
        deviations=(
            "rates are measured on trial, since no camera declares one",
            "Jeffay's theorem replaces a simulation of the next jobs: it holds wherever the windows begin",
            "n lanes count as one lane that is n times as quick as the first of them",
            "the later models of an app are part of the same job as its first model",
        ),
    )

    def __post_init__(self) -> None:
        self.meter = RateMeter()
        self.traffic = Traffic()
        self.newcomers = Newcomers()
        self.streams: dict[str, AdmittedStream] = {}  # in order of arrival
        self._judged_ns: Time = 0

    def order(self, task: Task) -> tuple[Any, ...]:
        return self.inner.order(task)

    def decide(self, state: State, now: Time) -> Action | None:
        """Refuses the first new frame of a stream that is not admitted, else asks `inner`."""
        for opened in self.newcomers.waiting(state):
            stream = self.streams.get(key(opened.request))
            if stream is not None and stream.admitted is False:
                return Reply(opened.request.id, "refused", detail="its stream would make others late")
        return self.inner.decide(state, now)

    def observe(self, moment: Moment) -> Iterable[Event]:
        """Measures rates and judges the streams once in `trial_s`; posts no events."""
        self.traffic.see(moment)
        self.newcomers.see(moment)
        if isinstance(moment.event, Arrived) and moment.event.request.deadline_ns is not None:
            self._count(moment, moment.event.request)
        if moment.now - self._judged_ns >= self.trial_s * 1e9:
            self._judged_ns = moment.now
            self._judge(moment.state, moment.now)
        return ()

    def _count(self, moment: Moment, request: Request) -> None:
        name, now = key(request), moment.now
        self.meter.count(name, now)
        if (stream := self.streams.get(name)) is not None:
            stream.last_ns = now
            return
        opened = moment.state.requests.get(request.id)
        model = next((task.model for task in opened.waiting.values()), request.app) if opened else request.app
        assert request.deadline_ns is not None
        window_ns = max(1, int((request.deadline_ns - request.arrived_ns) * self.share))
        self.streams[name] = AdmittedStream(name, model, window_ns, now, now)
        if len(self.streams) > STREAMS_MAX:
            self._forget(next(iter(self.streams)))

    def _forget(self, name: str) -> None:
        del self.streams[name]
        self.meter.series.pop(name, None)

    def _judge(self, state: State, now: Time) -> None:
        """Forgets silent streams, keeps admitted ones, and tests the others one by one in order of arrival."""
        quiet_ns = now - round(self.again_s * 1e9)
        for name in [name for name, stream in self.streams.items() if stream.last_ns < quiet_ns]:
            self._forget(name)
        known = [stream for stream in self.streams.values() if now - stream.first_ns >= self.trial_s * 1e9]
        inside = [stream for stream in known if stream.admitted]
        for stream in known:
            if not stream.admitted:
                stream.admitted = self._fits(state, [*inside, stream], now)
                inside += [stream] if stream.admitted else []

    def _fits(self, state: State, streams: Sequence[AdmittedStream], now: Time) -> bool:
        if not state.lanes:
            return False
        frames: dict[tuple[Time, str], int] = {}
        for stream in streams:
            expected = self.meter.rate_since_new(stream.name, now) * stream.window_ns / 1e9
            kind = stream.window_ns, stream.model
            frames[kind] = frames.get(kind, 0) + max(1, ceil(expected - WOBBLE))
        lanes = [*state.lanes.values()]
        jobs = [
            (window_ns, self._cost_ns(state, model, number, lanes[0]) // len(lanes))
            for (window_ns, model), number in frames.items()
        ]
        return schedulable(jobs)

    def _cost_ns(self, state: State, model: str, number: float, lane: Lane, depth: int = 0) -> Time:
        """Returns the duration of so many frames, and of what their results usually lead to."""
        known = state.models.get(model)
        if known is None or known.serving is None or depth == DEPTH_MAX:
            return 0
        took = sum(batches_ns(state, digest, ceil(number), lane) for digest in known.serving.stages)
        children = self.traffic.children(model).items()
        return took + sum(self._cost_ns(state, child, number * each, lane, depth + 1) for child, each in children)


def key(request: Request) -> str:
    """Returns the name of the request's stream, "app/stream"."""
    return f"{request.app}/{request.stream}"


def batches_ns(state: State, digest: str, number: int, lane: Lane) -> Time:
    """Returns how long so many tasks take in batches as large as the stage accepts."""
    took, left = 0, number
    while left > 0:
        size = largest(state, digest, left)
        full = left // size
        took, left = took + full * state.duration_ns(digest, size, lane), left - full * size
    return took
