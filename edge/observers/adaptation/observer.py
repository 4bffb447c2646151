"""Runs drift adaptation in the daemon: hands it samples of the answers and carries out its commands."""

import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np

from devices.interface import DeviceError
from drift.commands import Ask, Command, Note, Promote, RepairCandidate, Rollback, RunJob
from drift.repair.deployed import DeployedModel
from drift.samples import Sample
from edge.core.events import Event, Reply, Served, Time
from edge.core.interfaces import Moment
from edge.core.state import State
from edge.data.job import InFlightRequest, TaskJob
from edge.observers.adaptation.labels import Labeller
from edge.observers.adaptation.watched_model import Watched, incumbent
from edge.runtime.worker import Worker
from edge.runtime.world import LiveWorld
from porting.errors import CorruptBlob, UserError
from porting.images import resize
from porting.pipeline import derive
from porting.repository.repository import Repository
from porting.variant import STEP, Stage, Variant

PERIOD_NS = 100_000_000
STEPS = "adapt/"
ORIGINS_MAX = 4_000
Journal = Callable[[str, str, Mapping[str, Any]], None]  # kind, model, evidence
log = logging.getLogger("leeway")


def step_app(model: str) -> str:
    """Returns the name of the app under which a model's adaptation asks for background time."""
    return f"{STEPS}{model}"


def step_served(model: str, step_ns: int) -> Served:
    """Returns what the core needs to know of a kind of background step: one at a time, `step_ns` at most, no memory."""
    stage = Stage(kind=STEP, graph=step_app(model), durations_ns={1: step_ns})
    return Served(Variant(step_app(model), "step", (stage.digest,)), (stage,))


class AdaptationObserver:
    """Observes the loop and listens to the live world on behalf of drift adaptation.

    It runs on the loop thread; repair steps run on a lane, and file work runs in the worker. An error in a repair, be
    it a bug of a plug-in, ends that repair and not the daemon.
    """

    def __init__(
        self,
        world: LiveWorld,
        repository: Repository,
        labeller: Labeller,
        watched: dict[str, Watched],
        journal: Journal,
        worker: Worker,
    ):
        self.world, self.repository, self.labeller = world, repository, labeller
        self.watched, self.journal, self.worker = watched, journal, worker
        self.sample_ids = count(1)
        self.origins: dict[int, dict[str, str]] = {}  # where a sample came from, for the people who label it
        self.looked_ns: Time = 0

    # ---- what comes free with each result --------------------------------------------------------------------------

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None: ...

    def replied(self, opened: InFlightRequest, reply: Reply, now: Time) -> None:
        """Takes a sample from each task of an answered frame whose model is watched."""
        if opened.frame is None or reply.outcome != "ok":
            return
        for task in reply.tasks:
            job = opened.jobs[task]
            if (watched := self.watched.get(job.model)) is not None and not watched.broken:
                self._sample(watched, job, opened)

    def _sample(self, watched: Watched, job: TaskJob, opened: InFlightRequest) -> None:
        request, signals = opened.request, job.outcome.signals
        if (
            signals is None
            or signals.features is None
            or not watched.adaptation.wants(request.stream, request.arrived_ns)
        ):
            return
        assert job.picture is not None
        image = np.ascontiguousarray(resize(job.picture.pixels(), watched.input.width, watched.input.height))
        sample_id = next(self.sample_ids)
        self._remember(sample_id, opened)
        watched.adaptation.observe(
            Sample(
                sample_id,
                request.stream,
                request.arrived_ns,
                image,
                signals.answer,
                signals.features,
                job.variant.name,
                tuple(job.outcome.found),
            )
        )

    def _remember(self, sample_id: int, opened: InFlightRequest) -> None:
        assert opened.frame is not None
        self.origins[sample_id] = {"camera": opened.frame.camera, "seq": str(opened.frame.seq)}
        if len(self.origins) > ORIGINS_MAX:
            self.origins.pop(next(iter(self.origins)))

    # ---- what is ordered -------------------------------------------------------------------------------------------

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        """Looks at every watched model each 100 ms and carries out the commands of its adaptation."""
        if isinstance(moment.event, Served):
            self._served(moment.event.variant)
        if moment.now - self.looked_ns >= PERIOD_NS and not self.world.draining:
            self.looked_ns = moment.now
            for model, watched in self.watched.items():
                if watched.moved is not None:
                    self._served(watched.moved)
                if not watched.broken:
                    self._undo_what_cannot_load(model, watched, moment.state)
                    for command in self._commands(model, watched, moment.now):
                        self._carry_out(model, watched, command)
        return ()

    def _commands(self, model: str, watched: Watched, now: Time) -> list[Command]:
        try:
            return watched.adaptation.commands(now)
        except Exception as bug:
            self._broken(model, watched, bug)
            return []

    def _served(self, variant: Variant) -> None:
        """Reacts to a moved pointer; a promotion of our own is known to the adaptation already, or about to be."""
        watched = self.watched.get(variant.model)
        if watched is None:
            return
        if watched.adaptation.state in ("promoting", "rolling_back"):
            watched.moved = variant  # by us or by another process: examined when our own move is done
            return
        watched.moved = None
        if variant.name == watched.adaptation.incumbent.name and not watched.broken:
            return
        try:
            watched.adaptation.served(incumbent(self.repository, variant, watched.adaptation.incumbent.head))
        except CorruptBlob:
            return  # it will not serve; what does is watched on
        except UserError as error:
            self._broken(variant.model, watched, f"{variant.name} cannot be watched: {error}", variant=variant.name)
            return
        watched.broken = None
        self.journal("served", variant.model, {"variant": variant.name})

    def _undo_what_cannot_load(self, model: str, watched: Watched, state: State) -> None:
        """Rolls back a promotion that the core could not load, to what it goes on serving;
        `_served` is told of that move.
        """
        core, name = state.models.get(model), watched.adaptation.incumbent.name
        if core is None or core.serving is None or core.given_up != name:
            return
        if watched.adaptation.state != "probation" or watched.undone == name:
            return
        watched.undone, to, why = name, core.serving.name, {"reason": core.trouble}
        self._in_background(
            model, watched, lambda: self.repository.rollback(model, to, why), lambda _: None, lambda _: None
        )

    def _carry_out(self, model: str, watched: Watched, command: Command) -> None:
        match command:
            case Ask(samples=samples):
                for sample in samples:
                    self.labeller.ask(model, watched.labels, sample, self.origins.get(sample.id, {}), watched.labelled)
            case RunJob(job=job):
                self._steps(model, watched, job.step)
            case Promote(candidate=candidate, evidence=evidence):
                made_for = watched.adaptation.incumbent
                self._in_background(
                    model,
                    watched,
                    lambda: self._store(model, made_for, candidate, evidence),
                    watched.adaptation.promoted,
                    watched.adaptation.refused,
                )
            case Rollback(to=to, reason=reason):
                self._in_background(
                    model,
                    watched,
                    lambda: self.repository.rollback(model, to, {"reason": reason}),
                    lambda _: watched.adaptation.rolled_back(),
                    watched.adaptation.refused,
                )
            case Note(kind=kind, fields=fields):
                self.journal(kind, model, fields)

    def _store(
        self, model: str, made_for: DeployedModel, candidate: RepairCandidate, evidence: Mapping[str, Any]
    ) -> str:
        """Stores blobs, variant and pointer, in this order, so that what served goes on serving
        if the process is killed.
        """
        parent = self.repository.serving(model)
        if parent != made_for.name:
            raise UserError(f"{model}: the repair was made for {made_for.name!r}, but {parent!r} serves by now")
        prior = made_for.changed("", candidate).prior
        variant = derive(
            self.repository,
            self.repository.variant(model, parent),
            name=self.repository.free_name(model, candidate.kind),
            head=candidate.head,
            graph=candidate.graph,
            made_by={
                "response": candidate.kind,
                "evidence": dict(evidence),
                **({} if prior is None else {"prior": [float(share) for share in prior]}),
            },
        )
        self.repository.serve(model, variant.name, {"response": candidate.kind, **evidence})
        return variant.name

    def _in_background(
        self,
        model: str,
        watched: Watched,
        act: Callable[[], str],
        done: Callable[[str], None],
        refused: Callable[[str], None],
    ) -> None:
        """Does file work in the worker and reports its end on the loop thread; a full disk is an expected fault."""

        def told(word: Any) -> None:
            if not isinstance(word, Exception):
                done(word)
                return
            refused(str(word))
            if not isinstance(word, UserError | OSError):
                self._broken(model, watched, word)

        self.worker.do(act, told)

    def _steps(self, model: str, watched: Watched, step: Callable[[int], bool]) -> None:
        bugs: list[Exception] = []

        def guarded(budget_ns: int) -> bool:
            try:
                return step(budget_ns)
            except DeviceError:
                raise  # an expected fault: the lane reports it
            except Exception as bug:
                bugs.append(bug)
                return True

        def on_reply(opened: InFlightRequest, reply: Reply) -> None:
            if bugs:
                self._broken(model, watched, bugs[0])
            elif reply.outcome not in ("ok", "stopped"):
                self._broken(model, watched, reply.detail or "a step failed")

        self.world.submit(step_app(model), on_reply, step=guarded)

    def _broken(self, model: str, watched: Watched, why: str | Exception, **more: Any) -> None:
        """Turns the adaptation off until the pointer moves; serving goes on. An exception is a
        bug: its traceback is logged.
        """
        if isinstance(why, Exception):
            log.error("%s: its adaptation failed and is off; serving goes on", model, exc_info=why)
            why = f"{type(why).__name__}: {why}"[:200]
        watched.broken = why
        self.journal("broken", model, {**more, "reason": why})

    # ---- what is reported ------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, dict[str, Any]]:
        """Returns the status of each watched model, for the statistics."""
        return {
            model: {**watched.adaptation.status(), **({"state": "broken"} if watched.broken else {})}
            for model, watched in self.watched.items()
        }
