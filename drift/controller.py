"""Adapts one model to drift: watches, suspects, settles. Has no clock, thread or file of its own."""

from typing import Any

from drift.commands import Command
from drift.context import AdaptationContext, spent
from drift.detection.monitor import TRAIL_MAX, Alarm
from drift.episode import Episode
from drift.jobs import BackgroundJob, Clock
from drift.repair.deployed import DeployedModel
from drift.repair.inference import BackboneRunner
from drift.samples import Reference, Sample, Stride
from drift.settings import MS, DriftSettings, S
from drift.workflow import Workflow
from porting.formats.scorer import Scorer

WIDER = 3  # samples until the next check-in, as a multiple of the last
COUNTS = (
    "alarms",
    "audits",
    "promotions",
    "rollbacks",
    "turned_down",
    "refused",
    "given_up",
    "no_labels",
    "samples",
    "stale",
)


class AdaptationController:
    """Runs the adaptation of one model; it is driven from one thread.

    The caller reports answers with `observe` and labels with `labelled`, carries out the commands of `commands`, and
    reports what came of them with `promoted`, `refused`, `rolled_back`, `served`. Jobs run wherever there is time; the
    next `commands` picks up their results.

    Signals belong to a variant: samples of any other than the one that serves are ignored.

    A check-in is an audit without an alarm: soon after the start and at growing intervals, so that the detectors come
    to know this site's own frames, more of them each time, and never learn a world that no label vouches for.

    Args:
        model: its name, for the journal.
        incumbent: what serves now. reference: the world that it was ported in.
        forward: runs backbones on the device that jobs run on. clock: nanoseconds, for budgets of jobs only.
        seed: of every random draw in here.
        scorer: reads and scores answers by the model's format; `None`: a classifier's whose labels have no names.
    """

    def __init__(
        self,
        model: str,
        incumbent: DeployedModel,
        reference: Reference,
        settings: DriftSettings,
        forward: BackboneRunner,
        clock: Clock,
        seed: int = 0,
        scorer: Scorer | None = None,
    ):
        scorer = scorer or Scorer.of_labels(reference.answers.shape[1])
        self.context = AdaptationContext(model, incumbent, reference, settings, forward, clock, seed, scorer)
        self._stride = Stride(int(settings.stride_ms * MS), settings.per_frame)
        self._state = "starting"  # starting, watching, settling; or that of the course
        self._workflow: Workflow | None = None
        self._check_at = settings.world_min if settings.check_in else 0  # samples until the next check-in; 0: none
        self._tested_ns = self._quiet_until_ns = 0
        self._world_ns = 0  # since when the world is the one that is known

    @property
    def state(self) -> str:
        return self._workflow.state if self._workflow is not None else self._state

    @property
    def incumbent(self) -> DeployedModel:
        return self.context.incumbent

    # ---- what the world reports

    def wants(self, stream: str, at_ns: int) -> bool:
        """Returns whether `observe` would take a crop of this frame, which arrived at `at_ns`.

        Asking first spares the copy of a picture that would be left out.
        """
        return self._stride.would_take(stream, at_ns)

    def observe(self, sample: Sample) -> None:
        """Takes note of an answer; cheap, and bounded in memory.

        Most samples are left out, since a stream counts with one frame per stride; those of other variants are only
        counted.
        """
        if sample.variant and sample.variant != self.incumbent.name:
            self.context.counts["stale"] += 1
        elif self._stride.takes(sample.stream, sample.at_ns):
            self.context.counts["samples"] += 1
            self.context.recent.add(sample)
            self.context.watch.observe(sample.stream, sample.at_ns, sample.answer)
            if self._workflow is not None:
                self._workflow.seen(sample.at_ns)

    def labelled(self, sample_id: int, label: int | None, confidence: float = 1.0) -> None:
        """Takes the answer to an `Ask`.

        label: index into the model's classes; `None` when the teacher cannot say. confidence: 0..1.
        """
        self.context.labels.answer(sample_id, label, confidence)

    def promoted(self, name: str) -> None:
        """Takes note that the candidate is stored and serves (or will, once resident) as variant `name`."""
        assert self._workflow is not None, "no candidate was handed out"
        self._workflow.promoted(name)

    def rolled_back(self) -> None:
        """Takes note that the variant that `Rollback` named serves again."""
        assert self._workflow is not None, "no rollback was ordered"
        self._workflow.rolled_back()

    def refused(self, reason: str) -> None:
        """Takes note that a promotion or rollback could not be carried out; what served goes on serving."""
        assert self._workflow is not None, "nothing was ordered that could be refused"
        self._workflow.refused(reason)

    def served(self, incumbent: DeployedModel) -> None:
        """Starts over with a variant that somebody else put in service.

        The job in progress is cancelled; a check-in follows once `world_min` samples of the variant were seen.
        """
        context = self.context
        if context.job is not None:
            context.job.cancel()
        context.job, self._workflow = None, None
        context.begin_with(incumbent)
        self._check_at, self._world_ns = context.settings.world_min, context.now_ns
        self._state = "watching"

    def status(self) -> dict[str, Any]:
        """Returns state, variant, accuracy estimate 0..1 (`None` before the first audit) and counters, JSON-ready."""
        context = self.context
        estimate = context.accuracy_estimate
        return {
            "state": self.state,
            "variant": self.incumbent.name,
            "accuracy_estimate": None if estimate is None else round(estimate, 4),
            **{kind: context.counts[kind] for kind in COUNTS},
            "labels": {kind: getattr(context.labels, kind) for kind in ("asked", "answered", "unsure", "expired")},
        }

    # ---- what the world is to do

    def commands(self, now_ns: int) -> list[Command]:
        """Returns the commands to carry out now; to be called a few times per second.

        Cheap: it tests windows that are full, and runs no model. now_ns: on the clock of the samples' `at_ns`.
        """
        self.context.now_ns = now_ns
        for _ in range(4):  # a course may end and the next state begin in one call
            before = self.state
            self._advance()
            if self.state == before:
                break
        commands, self.context.commands = self.context.commands, []
        return commands

    def _advance(self) -> None:
        if self._workflow is not None:
            self._workflow.advance()
            self._follow(self._workflow)
        elif self._state == "starting":
            self._while_starting()
        elif self._state == "watching":
            self._while_watching()
        else:
            self._while_settling()

    def _follow(self, workflow: Workflow) -> None:
        if workflow.end is None:
            return
        settings, routine = (
            self.context.settings,
            workflow.episode.purpose == "check_in" and not workflow.episode.promotions,
        )
        self._workflow = None
        self._state = "settling" if workflow.end == "settle" else "watching"
        if workflow.end == "settle" and not routine:
            self._world_ns = workflow.since_ns
            self._check_at = WIDER * settings.world_min if settings.check_in else 0
        elif workflow.end == "rest" and not routine:
            self._quiet_until_ns = self.context.now_ns + int(settings.refractory_s * S)

    def _while_starting(self) -> None:
        context = self.context
        job = context.work("calibrate", lambda: context.calibration(context.first, context.settings.streams))
        if job is not None:
            self._learned(job)

    def _while_watching(self) -> None:
        context = self.context
        if context.now_ns < self._quiet_until_ns:
            return
        if self._check_at and context.watch.seen(self._world_ns) >= self._check_at:
            self._check_at = WIDER * self._check_at if WIDER * self._check_at <= TRAIL_MAX else 0
            times = sorted(sample.at_ns for sample in context.recent)
            self._suspect(Alarm("*", "covariate", {}, context.now_ns, times[len(times) // 2]), "check_in")
        elif context.now_ns - self._tested_ns >= context.settings.test_s * S:
            self._tested_ns = context.now_ns
            alarm = context.watch.test(context.now_ns)
            if alarm is not None:
                excess = {name: round(value, 3) for name, value in alarm.excess.items()}
                context.count_and_note("alarm", stream=alarm.stream, drift=alarm.kind, excess=excess)
                self._suspect(alarm, "audit")

    def _suspect(self, alarm: Alarm, purpose: str) -> None:
        self.context.labels.forget()
        self._workflow = Workflow(self.context, Episode(alarm, purpose, alarm.since_ns, self.context.now_ns))

    def _while_settling(self) -> None:
        """Learns the world as it is now, once enough of it was seen with this variant."""
        context = self.context
        if context.job is None and context.watch.seen(self._world_ns) < context.settings.world_min:
            return
        job = context.work(
            "calibrate", lambda: context.calibration(context.watch.world(self._world_ns), context.watch.streams)
        )
        if job is not None:
            self._learned(job)

    def _learned(self, job: BackgroundJob) -> None:
        if job.error is None and job.result is not None:
            self.context.watch.know(job.result)
            self.context.note("calibrated", worlds=len(self.context.watch.known_worlds), **spent(job))
        self._state = "watching"
