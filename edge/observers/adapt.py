"""Drift adaptation in the running daemon: hands it the samples that come free, carries out what it orders."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from drift.adaptation import Adaptation
from drift.incumbent import Head, Incumbent
from drift.orders import Ask, Note, Promote, Rollback, Work
from drift.samples import Sample
from edge.events import Event, Reply, Served, Time
from edge.lane import Job
from edge.live import Live, Open
from edge.observers.labels import Labeller
from edge.protocols import Moment
from edge.state import State
from porting.errors import CorruptBlob, UserError
from porting.images import resize
from porting.pipeline import derive
from porting.repository import Repository
from porting.variant import InputSpec, Stage, Variant

PERIOD_NS = 100_000_000
STEPS = "adapt/"
ORIGINS_MAX = 4_000
Journal = Callable[[str, str, Mapping[str, Any]], None]  # kind, model, evidence


def step_app(model: str) -> str:
    """Name under which a model's adaptation waits for its time."""
    return f"{STEPS}{model}"


def step_served(model: str, step_ns: int) -> Served:
    """What the core needs to know of a kind of background step: one at a time, this long at most, no memory."""
    stage = Stage(kind="step", graph=step_app(model), durations_ns={1: step_ns})
    return Served(Variant(step_app(model), "step", (stage.digest,)), (stage,))


@dataclass(slots=True)
class Watched:
    """One classifier under watch."""

    adaptation: Adaptation
    labels: tuple[str, ...]
    input: InputSpec
    broken: str | None = None  # why adaptation is off, while serving goes on
    undone: str | None = None  # the last promotion that could not be loaded
    moved: Variant | None = None  # what the pointer was moved to while we were about to move it

    def labelled(self, sample_id: int, label: str | None, confidence: float) -> None:
        index = self.labels.index(label) if label in self.labels else None
        self.adaptation.labelled(sample_id, index, confidence)


def incumbent(repository: Repository, variant: Variant, like: Head) -> Incumbent:
    """What serves, as drift sees it; its head lies the same way round as another one of the same model."""
    stages = repository.stages(variant, "")
    if len(stages) != 2 or stages[1].head is None:
        raise UserError(f"{variant.model}/{variant.name}: has no head of its own; serves on, without repair")
    backbone, head = stages[0].graph, stages[1].head
    arrays = repository.arrays(head)
    weight = arrays.get(like.names[0], np.zeros(0))
    bias = arrays.get(like.names[1], like.bias)
    if weight.shape != (like.weight.T if like.transposed else like.weight).shape:
        raise UserError(f"{variant.model}/{variant.name}: its head has another shape than the reference's")
    return Incumbent(
        variant.name,
        repository.blob_bytes(backbone),
        like.with_(weight.T if like.transposed else weight, bias),
    )


class Adapt:
    """Observer of the loop and listener of the live world. All but the steps themselves runs on the loop thread."""

    def __init__(
        self, world: Live, repository: Repository, labeller: Labeller, watched: dict[str, Watched], journal: Journal
    ):
        self.world, self.repository, self.labeller = world, repository, labeller
        self.watched, self.journal = watched, journal
        self.sample_ids = count(1)
        self.origins: dict[int, dict[str, str]] = {}  # where a sample came from, for the people who label it
        self.looked_ns: Time = 0

    # ---- what comes free with each result --------------------------------------------------------------------------

    def arrived(self, camera: str) -> None: ...

    def dropped(self, camera: str, app: str, reason: str) -> None: ...

    def replied(self, opened: Open, reply: Reply, now: Time) -> None:
        if opened.frame is None or reply.outcome != "ok":
            return
        for task in reply.tasks:
            job = opened.jobs[task]
            if (watched := self.watched.get(job.model)) is not None and not watched.broken:
                self._sample(watched, job, opened)

    def _sample(self, watched: Watched, job: Job, opened: Open) -> None:
        request = opened.request
        if job.outcome.features is None or not watched.adaptation.wants(request.stream, request.arrived_ns):
            return
        assert job.picture is not None
        assert job.outcome.probs is not None
        image = np.ascontiguousarray(resize(job.picture.pixels(), watched.input.width, watched.input.height))
        sample_id = next(self.sample_ids)
        self._remember(sample_id, opened)
        watched.adaptation.observe(
            Sample(
                sample_id,
                request.stream,
                request.arrived_ns,
                image,
                job.outcome.probs,
                job.outcome.features,
                job.variant.name,
            )
        )

    def _remember(self, sample_id: int, opened: Open) -> None:
        assert opened.frame is not None
        self.origins[sample_id] = {"camera": opened.frame.camera, "seq": str(opened.frame.seq)}
        if len(self.origins) > ORIGINS_MAX:
            self.origins.pop(next(iter(self.origins)))

    # ---- what is ordered -------------------------------------------------------------------------------------------

    def observe(self, moment: Moment) -> tuple[Event, ...]:
        if isinstance(moment.event, Served):
            self._served(moment.event.variant)
        if moment.now - self.looked_ns >= PERIOD_NS and not self.world.draining:
            self.looked_ns = moment.now
            for model, watched in self.watched.items():
                if watched.moved is not None:
                    self._served(watched.moved)
                if not watched.broken:
                    self._undo_what_cannot_load(model, watched, moment.state)
                    for order in watched.adaptation.orders(moment.now):
                        self._carry_out(model, watched, order)
        return ()

    def _served(self, variant: Variant) -> None:
        """Somebody moved the pointer. When it was us, the adaptation knows already, or is about to."""
        watched = self.watched.get(variant.model)
        if watched is None:
            return
        if watched.adaptation.state in ("promoting", "rolling_back"):
            watched.moved = variant  # by us or by somebody else: looked at again when ours is done
            return
        watched.moved = None
        if variant.name == watched.adaptation.incumbent.name and not watched.broken:
            return
        try:
            watched.adaptation.served(incumbent(self.repository, variant, watched.adaptation.incumbent.head))
        except CorruptBlob:
            return  # it will not serve; what does is watched on
        except UserError as error:
            watched.broken = f"{variant.name} cannot be watched: {error}"
            self.journal("broken", variant.model, {"variant": variant.name, "reason": watched.broken})
            return
        watched.broken = None
        self.journal("served", variant.model, {"variant": variant.name})

    def _undo_what_cannot_load(self, model: str, watched: Watched, state: State) -> None:
        """The core gave up what we promoted: point back at what it goes on serving; `_served` hears of it."""
        core, name = state.models.get(model), watched.adaptation.incumbent.name
        if core is None or core.serving is None or not core.trouble.startswith(f"{name}: "):
            return
        if watched.adaptation.state != "probation" or watched.undone == name:
            return
        watched.undone, to, why = name, core.serving.name, {"reason": core.trouble}
        self._in_background(
            model, watched, lambda: self.repository.rollback(model, to, why), lambda _: None, lambda _: None
        )

    def _carry_out(self, model: str, watched: Watched, order: Any) -> None:
        match order:
            case Ask(samples=samples):
                for sample in samples:
                    self.labeller.ask(model, watched.labels, sample, self.origins.get(sample.id, {}), watched.labelled)
            case Work(job=job):
                self._steps(model, watched, job.step, lambda: None)
            case Promote(candidate=candidate, evidence=evidence):
                made_for = watched.adaptation.incumbent.name
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

    def _store(self, model: str, made_for: str, candidate: Any, evidence: Mapping[str, Any]) -> str:
        """Blobs, variant, pointer, in this order: killed in between, what served goes on serving."""
        parent = self.repository.serving(model)
        if parent != made_for:
            raise UserError(f"{model}: the repair was made for {made_for!r}, but {parent!r} serves by now")
        variant = derive(
            self.repository,
            self.repository.variant(model, made_for),
            name=f"{candidate.kind}-{len(self.repository.variants(model))}",
            head=candidate.head,
            graph=candidate.graph,
            made_by={"response": candidate.kind, "evidence": dict(evidence)},
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
        """File work on the lane's idle thread, its end told on the loop thread; a full disk is weather."""
        said: list[str | Exception] = []

        def step(budget_ns: int) -> bool:
            try:
                said.append(act())
            except (UserError, OSError) as error:
                said.append(error)
            return True

        def ended() -> None:
            (word,) = said
            if isinstance(word, Exception):
                refused(str(word))
            else:
                done(word)

        self._steps(model, watched, step, ended)

    def _steps(self, model: str, watched: Watched, step: Callable[[int], bool], ended: Callable[[], None]) -> None:
        def on_reply(opened: Open, reply: Reply) -> None:
            if reply.outcome == "ok":
                ended()
            elif reply.outcome != "stopped":
                watched.broken = reply.detail or "a step failed"
                self.journal("broken", model, {"reason": watched.broken})

        self.world.submit(step_app(model), on_reply, step=step)

    # ---- what is told ----------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, dict[str, Any]]:
        return {
            model: {**watched.adaptation.status(), **({"state": "broken"} if watched.broken else {})}
            for model, watched in self.watched.items()
        }
