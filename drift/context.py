"""Holds what an adaptation works with: its memory, its questions, its one job, and the commands not handed out yet."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.commands import Command, Note, RunJob
from drift.detection.monitor import DriftMonitor
from drift.detection.thresholds import DAY_S, CalibratedDetector, Channel, ReferenceWorld, calibrate, rate_per_test
from drift.episode import Episode, labelled
from drift.evaluation.audit import AuditFinding, centroid, find
from drift.evaluation.paired_run import trial
from drift.jobs import BackgroundJob, Clock, Slices
from drift.labels import Labels
from drift.repair.deployed import DeployedModel
from drift.repair.inference import BackboneRunner
from drift.repair.response import Situation
from drift.samples import Recent, Reference, Replay, Sample
from drift.settings import MS, DriftSettings, S
from porting.formats.scorer import Scorer

Array = NDArray[Any]

STORED_MAX = 3  # earlier variants that can be recalled: the first one and the newest


class AdaptationContext:
    """Holds the state of one model's adaptation, and the moves that its states share; it decides nothing."""

    def __init__(
        self,
        model: str,
        incumbent: DeployedModel,
        reference: Reference,
        settings: DriftSettings,
        forward: BackboneRunner,
        clock: Clock,
        seed: int,
        scorer: Scorer,
    ):
        self.model, self.incumbent, self.settings = model, incumbent, settings
        self.ported = incumbent  # the reference was made with it, so it can be recalled whatever serves
        self.forward, self.clock, self.scorer = forward, clock, scorer
        self.rng = np.random.default_rng(seed)
        self.tests, self.ladder, self.rule = settings.tests(), settings.ladder(), settings.rule()
        right = scorer.of_answers(reference.answers, reference.labels)
        self.expected = float(right.mean())  # what an audit compares with
        self.accuracy_estimate: float | None = None
        self.prior, self.centroid = reference.prior, centroid(reference.features)
        self.replay = Replay.of(reference, incumbent.graph, settings.replay, self.rng)
        held = reference.split()[1]
        self.old = reference.labelled(np.sort(self.rng.permutation(held)[: settings.old_held_out]))
        self.first = ReferenceWorld(reference.answers, reference.stream, reference.block)
        self.block_ns = int(settings.block_s * S)
        self.watch = DriftMonitor(settings.window, settings.pooled_window, self.block_ns)
        self.recent = Recent()
        timeout_ns = int(settings.label_timeout_s * S)
        self.labels = Labels(scorer.classes, settings.label_confidence_min, timeout_ns)
        self.stored: list[tuple[DeployedModel, list[CalibratedDetector]]] = []
        self.counts: Counter[str] = Counter()
        self.job: BackgroundJob | None = None
        self.commands: list[Command] = []
        self.now_ns = 0

    def samples(self, since_ns: int) -> list[Sample]:
        """Returns the remembered samples since `since_ns` that the serving variant answered, oldest first."""
        return [s for s in self.recent.since(since_ns) if s.variant in ("", self.incumbent.name)]

    def replace(self, incumbent: DeployedModel) -> None:
        """Takes note that `incumbent` serves now; what served before can be recalled.

        A variant that served before gets back the detectors of the worlds that were known to be harmless for it.
        """
        self.stored.append((self.incumbent, self.watch.known_worlds))
        if len(self.stored) > STORED_MAX:
            del self.stored[1]
        self.incumbent = incumbent
        known = [known_worlds for stored, known_worlds in self.stored if stored.same_as(incumbent)]
        self.renew(known[-1] if known else [])

    def begin_with(self, incumbent: DeployedModel) -> None:
        """Starts over with a variant that this adaptation did not make.

        Only the ported variant can be recalled then, and only where it is not `incumbent` itself.
        """
        self.incumbent = incumbent
        self.stored = [] if incumbent.same_as(self.ported) else [(self.ported, [])]
        self.renew([])

    def restore(self) -> None:
        """Makes the variant that served before the incumbent again, with the worlds known for it."""
        self.incumbent, known_worlds = self.stored.pop()
        self.renew(known_worlds)

    def renew(self, known_worlds: list[CalibratedDetector]) -> None:
        """Forgets the signals of the variant that served, and watches with the detectors of the one that serves now."""
        self.watch.clear()
        self.watch.known_worlds = list(known_worlds)

    def scores(self, known: list[tuple[Sample, int]]) -> Array:
        """Returns how right the answers to these samples were, 0..1 each."""
        return self.scorer.scores([sample.objects for sample, _ in known], [label for _, label in known])

    def find(self, scores: Array) -> AuditFinding:
        """Returns what these scores, each 0..1 for one picture, say about harm.

        Their sum, rounded, counts as the number of right answers.
        """
        s = self.settings
        return find(
            round(float(scores.sum())),
            len(scores),
            self.expected,
            self.labels.classes,
            s.teacher_error,
            s.alpha,
            s.margin,
        )

    def situation(self, episode: Episode) -> Situation:
        """Returns what a response may know now; cheap, since no picture is copied."""
        training, _ = self.parts(episode)
        return Situation(
            incumbent=self.incumbent,
            alarm=episode.alarm,
            fresh=[s.image for s in training],
            fresh_probs=np.stack([s.answer for s in training]) if training else self.first.answers[:0],
            labelled=labelled(self.labels.of(training), self.block_ns),
            replay=self.replay,
            prior=self.prior,
            forward=self.forward,
            scorer=self.scorer,
            stored=[incumbent for incumbent, _ in self.stored],
            seed=int(self.rng.integers(2**31)),
        )

    def trial(self, episode: Episode) -> Slices:
        """Compares the episode's candidate with what serves, on held-out pictures, new ones and old ones."""
        assert episode.candidate is not None
        held_out = [s for s in self.parts(episode)[1] if s.id not in episode.far]
        new = labelled(self.labels.of(held_out), self.block_ns)
        after = self.incumbent.changed("candidate", episode.candidate)
        return trial(self.incumbent, after, (new, self.old), self.forward, self.scorer)

    def parts(self, episode: Episode) -> tuple[list[Sample], list[Sample]]:
        return episode.parts(self.recent.since(episode.since_ns), int(self.settings.gap_ms * MS))

    def calibration(self, world: ReferenceWorld, streams: int) -> Slices:
        """Calibrates a detector on this world, in slices; `streams`: how many are expected in it.

        The rate of false alarms per day is split over models, streams, tests and the tests that run in a day.
        """
        s = self.settings
        channels = (Channel("stream", s.window), Channel("pooled", s.pooled_window, max(2, streams)))
        count = max(1, len(s.models)) * (streams + 1) * len(self.tests)
        rate = rate_per_test(s.false_alarms_per_day, count, DAY_S / s.test_s)
        rng = np.random.default_rng(int(self.rng.integers(2**31)))
        return calibrate(world, self.tests, channels, rate, rng, s.bootstrap_draws)

    def work(self, name: str, slices: Callable[[], Slices]) -> BackgroundJob | None:
        """Starts a job if none runs.

        Returns the job in the one call that finds it done, with its result or error; `None` before.
        """
        if self.job is None:
            self.start(name, slices())
        return self.finished()

    def start(self, name: str, slices: Slices) -> None:
        assert self.job is None, "one job at a time"
        self.job = BackgroundJob(name, slices, self.clock)
        self.commands.append(RunJob(f"{self.model}/{name}", self.job))

    def finished(self) -> BackgroundJob | None:
        if self.job is None or not self.job.done:
            return None
        job, self.job = self.job, None
        return job

    def ask(self, samples: list[Sample], purpose: str) -> None:
        question = self.labels.ask(samples, self.now_ns, purpose)
        if question is not None:
            self.commands.append(question)

    def count_and_note(self, kind: str, **fields: Any) -> None:
        self.counts[kind if kind in ("refused", "given_up", "no_labels") else f"{kind}s"] += 1
        self.note(kind, **fields)

    def note(self, kind: str, **fields: Any) -> None:
        self.commands.append(Note(kind, {"model": self.model, "variant_now": self.incumbent.name, **fields}))


def spent(job: BackgroundJob) -> Mapping[str, float]:
    return {"spent_ms": round(job.spent_ns / MS, 1)}
