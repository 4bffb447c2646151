"""One model's drift adaptation: watch, audit, repair, judge, promote, probation. No clock, thread or file in here."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from drift.audit import Finding, centroid, choose, find
from drift.calibrate import DAY_S, Channel, Guard, World, calibrate, rate_per_test
from drift.episode import Episode, labelled, pictures, split_time
from drift.forward import Forward
from drift.incumbent import Incumbent
from drift.jobs import Clock, Job, Slices
from drift.judge import Verdict, judge, worse
from drift.labels import Labels
from drift.orders import Note, Order, Promote, Rollback, Work
from drift.responses import Response, Situation
from drift.samples import Recent, Reference, Replay, Sample, Stride
from drift.settings import MS, DriftSettings, S
from drift.trial import trial
from drift.watch import Alarm, Watch

STORED_MAX = 3  # earlier variants that can be recalled: the first one and the newest


class Adaptation:
    """Drive it from one thread: `observe` answers, `labelled` labels, carry out `orders`; report `promoted`, `refused`,
    `rolled_back`, `served`. Jobs run wherever there is time; their results are picked up by the next `orders`.

    Signals belong to a variant: samples of any other than the one that serves are ignored.
    """

    def __init__(
        self,
        model: str,
        incumbent: Incumbent,
        reference: Reference,
        settings: DriftSettings,
        forward: Forward,
        clock: Clock,
        seed: int = 0,
    ):
        self.model, self.incumbent, self.settings = model, incumbent, settings
        self.state = "starting"
        self.accuracy_estimate: float | None = None
        self.counts: Counter[str] = Counter()
        self._forward, self._clock = forward, clock
        self._rng = np.random.default_rng(seed)
        self._tests, self._ladder, self._rule = settings.tests(), settings.ladder(), settings.rule()
        self._expected = reference.accuracy  # what an audit compares with
        self._prior, self._centroid = reference.prior, centroid(reference.features)
        self._replay = Replay.of(reference, incumbent.graph, settings.replay, self._rng)
        held = reference.split()[1]
        held = np.sort(self._rng.permutation(held)[: settings.old_held_out])
        self._old = reference.labelled(held)
        self._first = World(reference.probs, reference.stream, reference.block)
        self._stride = Stride(int(settings.stride_ms * MS), settings.per_frame)
        self._block_ns = int(settings.block_s * S)
        self._watch = Watch(settings.window, settings.pooled_window, self._block_ns)
        self._recent = Recent()
        self._labels = Labels(
            reference.probs.shape[1], settings.label_confidence_min, int(settings.label_timeout_s * S)
        )
        self._stored: list[tuple[Incumbent, list[Guard]]] = []
        self._episode: Episode | None = None
        self._job: Job | None = None
        self._orders: list[Order] = []
        self._now_ns = self._tested_ns = self._quiet_until_ns = self._since_ns = 0
        self._checked_in = not settings.check_in

    # ---- what the world reports

    def observe(self, sample: Sample) -> None:
        """Take note of an answer; cheap, bounded. Most are left out: one frame per stream and stride counts."""
        if sample.variant and sample.variant != self.incumbent.name:
            self.counts["stale"] += 1
        elif self._stride.takes(sample.stream, sample.at_ns):
            self.counts["samples"] += 1
            self._recent.add(sample)
            self._watch.observe(sample.stream, sample.at_ns, sample.probs)
            if self.state == "probation" and not self._since_ns:
                self._since_ns = sample.at_ns

    def wants(self, stream: str, at_ns: int) -> bool:
        """Whether `observe` would look at a crop of this frame: spares the copy of a picture that nobody wants."""
        return self._stride.would_take(stream, at_ns)

    def labelled(self, sample_id: int, label: int | None, confidence: float = 1.0) -> None:
        """An answer to `Ask`. label: index into the model's classes, or None when the teacher cannot say."""
        self._labels.answer(sample_id, label, confidence)

    def promoted(self, name: str) -> None:
        """The candidate is stored and serves (or will, once resident) as variant `name`."""
        episode = self._in_episode("promoting")
        assert episode.candidate is not None
        self._stored.append((self.incumbent, self._watch.guards))
        if len(self._stored) > STORED_MAX:
            del self._stored[1]
        self.incumbent = self.incumbent.changed(name, episode.candidate)
        episode.promotions += 1
        self._count_and_note("promotion", variant=name, response=episode.candidate.kind)
        known = [guards for stored, guards in self._stored if stored.same_as(self.incumbent)]
        self._renew(known[-1] if known else [])  # a variant that returns knows its worlds
        self.state, self._since_ns = "probation", 0

    def rolled_back(self) -> None:
        """The pointer is back at the variant that `Rollback` named."""
        self._in_episode("rolling_back")
        self.incumbent, guards = self._stored.pop()
        self._count_and_note("rollback", variant=self.incumbent.name)
        self._renew(guards)
        self._give_up("the promoted variant did worse in probation")

    def refused(self, reason: str) -> None:
        """A promotion or rollback could not be carried out; what served goes on serving."""
        assert self.state in ("promoting", "rolling_back"), f"nothing to refuse while {self.state}"
        self._count_and_note("refused", reason=reason)
        self._give_up(reason)

    def served(self, incumbent: Incumbent) -> None:
        """Somebody else moved the pointer: begin anew with that variant, and audit it."""
        if self._job is not None:
            self._job.cancel()
        self._job, self._episode, self.incumbent = None, None, incumbent
        self._stored.clear()
        self._renew([])
        self._checked_in, self.state = False, "watching"

    def status(self) -> dict[str, Any]:
        """For statistics and people: state, accuracy estimate 0..1 (None before the first audit), counters."""
        kinds = ("alarms", "audits", "promotions", "rollbacks", "refused", "given_up", "samples", "stale")
        labels = {k: getattr(self._labels, k) for k in ("asked", "answered", "unsure", "expired")}
        estimate = None if self.accuracy_estimate is None else round(self.accuracy_estimate, 4)
        return {
            "state": self.state,
            "variant": self.incumbent.name,
            "accuracy_estimate": estimate,
            **{kind: self.counts[kind] for kind in kinds},
            "labels": labels,
        }

    # ---- what the world is to do

    def orders(self, now_ns: int) -> list[Order]:
        """Everything to be done now; call it a few times per second. Cheap: tests of full windows, no inference."""
        self._now_ns = now_ns
        for _ in range(12):  # a few states may be passed at once; more would be a bug, not patience
            before = self.state
            getattr(self, f"_while_{self.state}")()
            if self.state == before:
                break
        orders, self._orders = self._orders, []
        return orders

    def _while_starting(self) -> None:
        job = self._work("calibrate", lambda: self._calibration(self._first, self.settings.streams))
        if job is not None:
            self._learned(job)

    def _while_watching(self) -> None:
        if self._now_ns < self._quiet_until_ns:
            return
        if not self._checked_in and self._watch.seen(0) >= self.settings.world_min:
            self._checked_in = True
            times = [sample.at_ns for sample in self._recent]
            self._suspect(Alarm("*", "covariate", {}, self._now_ns, min(times)), "check_in")
        elif self._now_ns - self._tested_ns >= self.settings.test_s * S:
            self._tested_ns = self._now_ns
            alarm = self._watch.test(self._now_ns)
            if alarm is not None:
                excess = {name: round(value, 3) for name, value in alarm.excess.items()}
                self._count_and_note("alarm", stream=alarm.stream, drift=alarm.kind, excess=excess)
                self._suspect(alarm, "audit")

    def _suspect(self, alarm: Alarm, purpose: str) -> None:
        self._labels.forget()
        self._episode = Episode(alarm, purpose, alarm.since_ns, self._now_ns)
        self.state = "auditing"

    def _while_auditing(self) -> None:
        episode, settings = self._in_episode("auditing"), self.settings
        if not self._labels.settled(self._now_ns):
            return
        samples = [s for s in self._recent.since(episode.since_ns) if s.variant in ("", self.incumbent.name)]
        if episode.rounds == 0:
            if len(samples) >= settings.audit_labels or self._waited(settings.gather_s):
                self._ask_audit(samples, first=True)
            return
        known = self._labels.of(episode.chance)
        if len(known) < max(10, len(episode.chance) // 2):
            self._count_and_note("no_labels", asked=len(episode.chance), answered=len(known), purpose=episode.purpose)
            self._rest()
            return
        episode.finding = self._find([(s.probs, y) for s, y in known])
        if episode.finding.verdict == "undecided" and episode.rounds < settings.audit_rounds:
            fresh = [s for s in samples if s.id not in self._labels.known]
            if len(fresh) < settings.audit_labels // 2 and not self._waited(settings.gather_s * episode.rounds):
                return
            if fresh:
                self._ask_audit(fresh, first=False)
                return
        self._audited(episode, episode.finding)

    def _ask_audit(self, samples: list[Sample], first: bool) -> None:
        episode = self._in_episode("auditing")
        episode.rounds += 1
        if not samples:
            return
        features = np.stack([s.features for s in samples])
        count = self.settings.audit_labels if first else self.settings.audit_labels // 2 * 2
        chance, far = choose(features, self._centroid, count, self._rng)
        episode.chance += [samples[i] for i in chance]
        self._ask([samples[i] for i in (*chance, *(far if first else ()))], episode.purpose)

    def _audited(self, episode: Episode, finding: Finding) -> None:
        self.accuracy_estimate = finding.accuracy
        self._count_and_note("audit", purpose=episode.purpose, rounds=episode.rounds, **finding.fields())
        if finding.verdict == "harmful":
            self.state, episode.began_ns = "gathering", self._now_ns
        elif finding.verdict == "harmless":
            self._settle(episode.since_ns)
        else:
            self._rest()

    def _while_gathering(self) -> None:
        """Wait for enough of the new world, then split it by time and ask for the labels of a repair."""
        episode, settings = self._in_episode("gathering"), self.settings
        samples = self._recent.since(episode.since_ns)
        if len(samples) < settings.fresh_samples and not self._waited(settings.gather_s):
            return
        if not samples:
            self._give_up("no samples of the new world")
            return
        episode.split_ns = split_time(samples, settings.held_out)
        open_ = [s for s in samples if s.id not in self._labels.known]
        more = max(0, settings.train_labels - len(self._labels.of(samples)))
        picked = np.sort(self._rng.permutation(len(open_))[:more])
        self._ask([open_[i] for i in picked], "train")
        self.state = "repairing"

    def _while_repairing(self) -> None:
        """Climb the ladder: the first response that applies and makes a candidate goes to the judge."""
        episode = self._in_episode("repairing")
        if episode.rung >= len(self._ladder):
            self._out_of_rungs(episode)
            return
        response = self._ladder[episode.rung]
        if self._job is None and not self._begun(episode, response):
            return
        job = self._finished()
        if job is None:
            return
        episode.candidate = job.result
        outcome = "failed" if job.error else "candidate" if job.result is not None else "nothing to change"
        evidence = dict(job.result.evidence) if job.result is not None else {}
        self._note(
            "response", response=response.name, outcome=outcome, reason=job.error or "", **_spent(job), **evidence
        )
        if episode.candidate is None:
            episode.rung += 1
            self.state = "climbing"
        else:
            self.state = "judging"

    def _begun(self, episode: Episode, response: Response) -> bool:
        """Start a response, unless its labels are still open or it does not apply (then the next rung is due)."""
        situation = self._situation(episode)
        why_not = response.applies(situation)
        if not why_not and response.labels_min:
            if not self._labels.settled(self._now_ns):
                return False
            have = len(situation.labelled)
            if have < response.labels_min:
                why_not = f"only {have} labels of the new world, {response.labels_min} needed"
        if why_not:
            self._note("response", response=response.name, outcome="not applied", reason=why_not)
            episode.rung += 1
            self.state = "climbing"
            return False
        self._start(f"repair/{response.name}", response.repair(situation))
        return True

    def _while_climbing(self) -> None:
        self.state = "repairing"

    def _while_judging(self) -> None:
        episode = self._in_episode("judging")
        assert episode.candidate is not None
        if not self._labels.settled(self._now_ns):
            return
        job = self._work("judge", lambda: self._trial(episode))
        if job is None:
            return
        response = self._ladder[episode.rung].name
        episode.rung += 1
        if job.error:
            self._note("judgement", response=response, promote=False, reason=job.error)
            self.state = "repairing"
            return
        verdict: Verdict = judge(job.result[0], job.result[1], self._rule)
        self._note("judgement", response=response, **verdict.fields(), **_spent(job))
        if verdict.promote:
            self._orders.append(Promote(episode.candidate, {"response": response, **verdict.fields()}))
            self.state = "promoting"
        else:
            self.counts["turned_down"] += 1
            self.state = "repairing"

    def _while_promoting(self) -> None: ...

    def _while_rolling_back(self) -> None: ...

    def _while_probation(self) -> None:
        """See the promoted variant at work for some seconds, then ask for a few labels."""
        episode, settings = self._in_episode("probation"), self.settings
        samples = [s for s in self._recent.since(self._since_ns) if s.variant in ("", self.incumbent.name)]
        waited = self._since_ns and self._now_ns - self._since_ns >= settings.probation_s * S
        if not waited or len(samples) < settings.probation_labels:
            return
        picked = np.sort(self._rng.permutation(len(samples))[: settings.probation_labels])
        episode.chance = [samples[i] for i in picked]
        self._ask(episode.chance, "probation")
        self.state = "comparing"

    def _while_comparing(self) -> None:
        episode = self._in_episode("comparing")
        if not self._labels.settled(self._now_ns):
            return
        known = self._labels.of(episode.chance)
        if len(known) < max(10, len(episode.chance) // 2):
            self._count_and_note("no_labels", asked=len(episode.chance), answered=len(known), purpose="probation")
            self._settle(self._since_ns)
            return
        previous = self._stored[-1][0]
        part = labelled(known, self._block_ns, self._old)
        job = self._work("probation", lambda: trial(previous, self.incumbent, (part,), self._forward))
        if job is not None:
            self._compared(episode, previous, job)

    def _compared(self, episode: Episode, previous: Incumbent, job: Job) -> None:
        if job.error:
            self._note("probation", outcome="failed", reason=job.error)
            self._settle(self._since_ns)
            return
        (paired,) = job.result
        finding = self._find(list(zip(paired.after, paired.labels, strict=True)))
        before = float(np.mean(paired.before.argmax(1) == paired.labels))
        self.accuracy_estimate = finding.accuracy
        fields = {"previous": round(before, 4), **finding.fields(), **_spent(job)}
        if worse(paired, self.settings.confidence, self.settings.probation_loss):
            self._note("probation", outcome="worse", **fields)
            self._orders.append(Rollback(previous.name, "worse than the variant before it, in probation"))
            self.state = "rolling_back"
        elif finding.verdict == "harmful" and episode.rung < len(self._ladder):
            self._note("probation", outcome="better, not yet well", **fields)
            self.state, episode.began_ns = "gathering", self._now_ns
        else:
            self._note("probation", outcome="passed", **fields)
            self._expected = min(self._expected, max(finding.high, 1 / self._labels.classes))
            self._settle(self._since_ns)

    def _while_settling(self) -> None:
        """Learn the world as it is now, once enough of it was seen with this variant."""
        seen = self._watch.seen(self._since_ns)
        if self._job is None and seen < self.settings.world_min:
            return
        job = self._work("calibrate", lambda: self._calibration(self._watch.world(self._since_ns), self._watch.streams))
        if job is not None:
            self._learned(job)

    # ---- steps that several states share

    def _learned(self, job: Job) -> None:
        if job.error is None and job.result is not None:
            self._watch.know(job.result)
            self._note("calibrated", worlds=len(self._watch.guards), **_spent(job))
        self._episode, self.state = None, "watching"

    def _settle(self, since_ns: int) -> None:
        self._since_ns, self.state = since_ns, "settling"

    def _out_of_rungs(self, episode: Episode) -> None:
        if episode.promotions:
            self._note("response", outcome="no further rung helped", response="")
            self._settle(self._since_ns)
        else:
            self._give_up("no response passed the judge")

    def _give_up(self, reason: str) -> None:
        self._count_and_note("given_up", reason=reason)
        self._rest()

    def _rest(self) -> None:
        """Back to watching; no alarm for a while, or the same one would come at once."""
        self._quiet_until_ns = self._now_ns + int(self.settings.refractory_s * S)
        self._episode, self.state = None, "watching"

    def _renew(self, guards: list[Guard]) -> None:
        """Another variant serves: its signals start from nothing."""
        self._watch.clear()
        self._watch.guards = list(guards)

    def _find(self, answers: list[tuple[Any, int]]) -> Finding:
        s = self.settings
        right = sum(int(probs.argmax() == label) for probs, label in answers)
        return find(right, len(answers), self._expected, self._labels.classes, s.teacher_error, s.alpha, s.margin)

    def _situation(self, episode: Episode) -> Situation:
        training, _ = self._parts(episode)
        return Situation(
            incumbent=self.incumbent,
            alarm=episode.alarm,
            fresh=pictures(training, self._old),
            fresh_probs=np.stack([s.probs for s in training]) if training else self._first.probs[:0],
            labelled=labelled(self._labels.of(training), self._block_ns, self._old),
            replay=self._replay,
            prior=self._prior,
            forward=self._forward,
            stored=[incumbent for incumbent, _ in self._stored],
            seed=int(self._rng.integers(2**31)),
        )

    def _trial(self, episode: Episode) -> Slices:
        """The candidate against what serves, on the held-out new and old pictures."""
        assert episode.candidate is not None
        new = labelled(self._labels.of(self._parts(episode)[1]), self._block_ns, self._old)
        after = self.incumbent.changed("candidate", episode.candidate)
        return trial(self.incumbent, after, (new, self._old), self._forward)

    def _parts(self, episode: Episode) -> tuple[list[Sample], list[Sample]]:
        return episode.parts(self._recent.since(episode.since_ns), int(self.settings.gap_ms * MS))

    def _calibration(self, world: World, streams: int) -> Slices:
        s = self.settings
        channels = (Channel("stream", s.window), Channel("pooled", s.pooled_window, max(2, streams)))
        count = max(1, len(s.models)) * (streams + 1) * len(self._tests)
        rate = rate_per_test(s.false_alarms_per_day, count, DAY_S / s.test_s)
        rng = np.random.default_rng(int(self._rng.integers(2**31)))
        return calibrate(world, self._tests, channels, rate, rng, s.bootstrap_draws)

    def _work(self, name: str, slices: Callable[[], Slices]) -> Job | None:
        """Start a job if none runs; the job once it is done, and then no more."""
        if self._job is None:
            self._start(name, slices())
        return self._finished()

    def _start(self, name: str, slices: Slices) -> None:
        assert self._job is None, "one job at a time"
        self._job = Job(name, slices, self._clock)
        self._orders.append(Work(f"{self.model}/{name}", self._job))

    def _finished(self) -> Job | None:
        if self._job is None or not self._job.done:
            return None
        job, self._job = self._job, None
        return job

    def _ask(self, samples: list[Sample], purpose: str) -> None:
        question = self._labels.ask(samples, self._now_ns, purpose)
        if question is not None:
            self._orders.append(question)

    def _waited(self, seconds: float) -> bool:
        return self._episode is not None and self._now_ns - self._episode.began_ns >= seconds * S

    def _in_episode(self, state: str) -> Episode:
        assert self.state == state, f"{state} expected, it is {self.state}"
        assert self._episode is not None, f"{state} without an episode"
        return self._episode

    def _count_and_note(self, kind: str, **fields: Any) -> None:
        self.counts[kind if kind in ("refused", "given_up", "no_labels") else f"{kind}s"] += 1
        self._note(kind, **fields)

    def _note(self, kind: str, **fields: Any) -> None:
        self._orders.append(Note(kind, {"model": self.model, "variant_now": self.incumbent.name, **fields}))


def _spent(job: Job) -> Mapping[str, float]:
    return {"spent_ms": round(job.spent_ns / MS, 1)}
