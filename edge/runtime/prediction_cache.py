"""Implements Clipper's prediction cache (NSDI 2017, section 4.2): a repeated picture is answered without a lane."""

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from edge.answers.combining import Combines
from edge.core.events import Evicted, LaneDown, LaneUp, Loaded, LoadFailed, Reply, Served, Time
from edge.core.interfaces import AnswerRule, Moment, Observer
from edge.data.job import InFlightRequest, TaskJob
from edge.data.outcome import TaskOutcome

# Approximate memory that Python takes for each object: the limit is one of memory, not of payload.
ENTRY_BYTES, JOB_BYTES, FOUND_BYTES = 512, 512, 384
SWITCHES = Served | Loaded | LoadFailed | LaneUp | LaneDown | Evicted  # events after which another variant may serve


@dataclass(frozen=True, slots=True)
class Kept:
    """Holds an answer: the outcomes of its tasks without pictures, and which of them make up the result."""

    jobs: Mapping[int, TaskJob]
    tasks: tuple[int, ...]
    bytes: int


class PredictionCache:
    """Listens to and observes the live world, which asks it before a frame becomes a request of the core.

    An answer is stored under its app, the content of the frame, and the stages of every model that the app may ask, so
    that a promotion invalidates it. The least recently used one is evicted first. Only whole answers of the variants
    that serve are stored. Apps whose rule learns or takes votes are excluded, since a repetition would teach them the
    same again.

    Args:
        limit_bytes: approximate memory for answers.
        answers: the rule of each app.
    """

    def __init__(self, limit_bytes: int, answers: Mapping[str, AnswerRule]):
        self.limit_bytes = limit_bytes
        self.models = {
            app: tuple(answer.models())
            for app, answer in answers.items()
            if not isinstance(answer, Observer) and not isinstance(answer, Combines)
        }
        self.serving: dict[str, tuple[str, ...]] = {}  # model -> chain
        self.kept: dict[Hashable, Kept] = {}  # what was used last stands last
        self.bytes = self.hits = self.misses = 0
        self.seen: tuple[bytes, bytes] = (b"", b"")  # the payload that was looked at last, and its digest
        self.asked: dict[int, bytes] = {}  # digests for requests that are not answered yet

    def observe(self, moment: Moment) -> tuple[()]:
        """Notes which variants serve, after every event that may change it."""
        if isinstance(moment.event, SWITCHES):
            models = moment.state.models
            self.serving = {name: model.serving.stages for name, model in models.items() if model.serving}
        return ()

    # ---- asked by the live world ---------------------------------------------------------------------------------

    def recall(self, opened: InFlightRequest) -> Reply | None:
        """Returns the stored answer to a frame and puts its jobs into `opened`; None when there is none."""
        if opened.frame is None or opened.request.app not in self.models:
            return None
        digest = self._digest(opened.frame.payload)
        key = self._key(opened.request.app, digest)
        kept = self.kept.pop(key, None)
        if kept is None:
            self.misses += 1
            self.asked[opened.request.id] = digest
            return None
        self.hits += 1
        self.kept[key] = kept
        opened.jobs.update(kept.jobs)
        return Reply(opened.request.id, "ok", kept.tasks)

    # ---- told of every frame ---------------------------------------------------------------------------------------

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None: ...

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        """Stores the answer, if it is one that a repetition may be given."""
        digest = self.asked.pop(opened.request.id, None)
        if digest is None or reply.outcome != "ok" or reply.detail:
            return
        jobs = {task: opened.jobs[task] for task in reply.tasks}
        if all(job.variant.stages == self.serving.get(job.model) for job in jobs.values()):
            kept = Kept({task: bare(job) for task, job in jobs.items()}, reply.tasks, size_of(jobs))
            self._keep(self._key(opened.request.app, digest), kept)

    def counters(self) -> dict[str, int]:
        """Returns hits, misses, the number of stored answers and their bytes."""
        return {"hits": self.hits, "misses": self.misses, "answers": len(self.kept), "bytes": self.bytes}

    def _keep(self, key: Hashable, kept: Kept) -> None:
        self._forget(key)
        if kept.bytes > self.limit_bytes:
            return
        self.kept[key] = kept
        self.bytes += kept.bytes
        while self.bytes > self.limit_bytes:
            self._forget(next(iter(self.kept)))

    def _forget(self, key: Hashable) -> None:
        if (gone := self.kept.pop(key, None)) is not None:
            self.bytes -= gone.bytes

    def _key(self, app: str, digest: bytes) -> Hashable:
        return app, digest, tuple(self.serving.get(model) for model in self.models[app])

    def _digest(self, payload: bytes) -> bytes:
        """Computes the digest of a payload; the last one is remembered, since each app of a
        camera asks for the same frame.
        """
        if self.seen[0] is not payload:
            self.seen = (payload, hashlib.blake2b(payload, digest_size=16).digest())
        return self.seen[1]


def bare(job: TaskJob) -> TaskJob:
    """Returns the part of a job that a result is made of. Features are left out: a repetition is
    no new sample for drift.
    """
    signals = job.outcome.signals and replace(job.outcome.signals, features=None)
    outcome = TaskOutcome(job.outcome.found, [], signals)
    return TaskJob(job.model, job.variant, parent=job.parent, item=job.item, outcome=outcome)


def size_of(jobs: Mapping[int, TaskJob]) -> int:
    """Returns the approximate memory of an answer, in bytes."""
    found = [thing for job in jobs.values() for thing in job.outcome.found]
    signals = sum(job.outcome.signals.answer.nbytes for job in jobs.values() if job.outcome.signals is not None)
    attributes = sum(len(repr(thing.attributes)) for thing in found if thing.attributes)
    return ENTRY_BYTES + JOB_BYTES * len(jobs) + FOUND_BYTES * len(found) + signals + attributes
