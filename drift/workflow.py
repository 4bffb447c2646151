"""Walks through one suspected drift: audit, gathering, ladder, judge, promotion, probation."""

import numpy as np

from drift.commands import Promote, Rollback
from drift.context import AdaptationContext, spent
from drift.episode import Episode, labelled, split_time
from drift.evaluation.audit import AuditFinding, choose
from drift.evaluation.judge import Verdict, judge, worse
from drift.evaluation.paired_run import trial
from drift.jobs import BackgroundJob
from drift.repair.deployed import DeployedModel
from drift.repair.response import Response
from drift.samples import Sample
from drift.settings import S


class Workflow:
    """Runs one episode as a state machine over an adaptation context.

    `end` is `None` until it is over: then "settle" (learn the world as it is since `since_ns`) or "rest" (no alarm for
    a while, or the same one would come at once).
    """

    def __init__(self, context: AdaptationContext, episode: Episode):
        self.context, self.episode = context, episode
        self.state = "auditing"
        self.end: str | None = None
        self.since_ns = episode.since_ns
        self._asked = -1  # the rung whose response was asked last whether it applies

    def advance(self) -> None:
        """Passes through as many states as can be passed now; returns when one has to wait.

        Each state is a method `_while_<state>`.
        """
        for _ in range(2 * len(self.context.ladder) + 10):  # several states may be passed at once; more would be a bug
            before = self.state
            if self.end is None:
                getattr(self, f"_while_{self.state}")()
            if self.state == before:
                return
        raise AssertionError(f"the course of an episode does not settle in {self.state}")

    # ---- what the world reports

    def promoted(self, name: str) -> None:
        """Takes note that the candidate serves as variant `name`: its probation begins with its first answer."""
        assert self.state == "promoting", f"nothing was to be promoted while {self.state}"
        assert self.episode.candidate is not None
        self.context.replace(self.context.incumbent.changed(name, self.episode.candidate))
        self.episode.promotions += 1
        self.context.count_and_note("promotion", variant=name, response=self.episode.candidate.kind)
        self.state, self.since_ns = "probation", 0

    def rolled_back(self) -> None:
        """Takes note that the variant before the promoted one serves again, and gives up."""
        assert self.state == "rolling_back", f"nothing was to be rolled back while {self.state}"
        self.context.restore()
        self.context.count_and_note("rollback", variant=self.context.incumbent.name)
        self.give_up("the promoted variant did worse in probation")

    def refused(self, reason: str) -> None:
        """Takes note that a promotion or rollback could not be carried out, and gives up."""
        assert self.state in ("promoting", "rolling_back"), f"nothing to refuse while {self.state}"
        self.context.count_and_note("refused", reason=reason)
        self.give_up(reason)

    def seen(self, at_ns: int) -> None:
        """Takes note of an answer of the variant that serves: the first one after a promotion begins the probation."""
        if self.state == "probation" and not self.since_ns:
            self.since_ns = at_ns

    # ---- states

    def _while_auditing(self) -> None:
        episode, settings = self.episode, self.context.settings
        if not self.context.labels.settled(self.context.now_ns):
            return
        samples = self.context.samples(episode.since_ns)
        if episode.rounds == 0:
            if len(samples) >= settings.audit_labels or self._waited(settings.gather_s):
                self._ask_audit(samples, first=True)
            return
        known = self.context.labels.of(episode.chance)
        if len(known) < max(10, len(episode.chance) // 2):
            self.context.count_and_note(
                "no_labels", asked=len(episode.chance), answered=len(known), purpose=episode.purpose
            )
            self.rest()
            return
        episode.finding = self.context.find(self.context.scores(known))
        if episode.finding.verdict == "undecided" and episode.rounds < settings.audit_rounds:
            fresh = [s for s in samples if s.id not in self.context.labels.known]
            if len(fresh) < settings.audit_labels // 2 and not self._waited(settings.gather_s * episode.rounds):
                return
            if fresh:
                self._ask_audit(fresh, first=False)
                return
        self._audited(episode, episode.finding)

    def _ask_audit(self, samples: list[Sample], first: bool) -> None:
        episode = self.episode
        episode.rounds += 1
        if not samples:
            return
        features = np.stack([s.features for s in samples])
        count = self.context.settings.audit_labels if first else self.context.settings.audit_labels // 2 * 2
        chance, far = choose(features, self.context.centroid, count, self.context.rng)
        episode.chance += [samples[i] for i in chance]
        if first:
            episode.far = {samples[i].id for i in far}
        self.context.ask([samples[i] for i in (*chance, *(far if first else ()))], episode.purpose)

    def _audited(self, episode: Episode, finding: AuditFinding) -> None:
        self.context.accuracy_estimate = finding.accuracy
        self.context.count_and_note("audit", purpose=episode.purpose, rounds=episode.rounds, **finding.fields())
        if finding.verdict == "harmful":
            self.state, episode.began_ns = "gathering", self.context.now_ns
        elif finding.verdict == "harmless":
            self.settle(episode.since_ns)
        else:
            self.rest()

    def _while_gathering(self) -> None:
        """Waits for enough of the new world, then splits it by time and asks for the labels of a repair."""
        episode, settings = self.episode, self.context.settings
        samples = self.context.recent.since(episode.since_ns)
        if len(samples) < settings.fresh_samples and not self._waited(settings.gather_s):
            return
        if not samples:
            self.give_up("no samples of the new world")
            return
        episode.split_ns = split_time(samples, settings.held_out)
        open_ = [s for s in samples if s.id not in self.context.labels.known]
        more = max(0, settings.train_labels - len(self.context.labels.of(samples)))
        picked = np.sort(self.context.rng.permutation(len(open_))[:more])
        self.context.ask([open_[i] for i in picked], "train")
        self.state = "repairing"

    def _while_repairing(self) -> None:
        """Climbs the ladder: the first response that applies and makes a candidate goes to the judge."""
        episode = self.episode
        if episode.rung >= len(self.context.ladder):
            self._out_of_rungs(episode)
            return
        response = self.context.ladder[episode.rung]
        if self.context.job is None and not self._begun(episode, response):
            return
        job = self.context.finished()
        if job is None:
            return
        episode.candidate = job.result
        outcome = "failed" if job.error else "candidate" if job.result is not None else "nothing to change"
        evidence = dict(job.result.evidence) if job.result is not None else {}
        self.context.note(
            "response", response=response.name, outcome=outcome, reason=job.error or "", **spent(job), **evidence
        )
        if episode.candidate is None:
            episode.rung += 1
            self.state = "climbing"
        else:
            self.state = "judging"

    def _begun(self, episode: Episode, response: Response) -> bool:
        """Starts a response, unless its labels are still open or it does not apply (then the next rung is due)."""
        if self._asked < episode.rung:
            self._asked = episode.rung
            if why_not := response.applies(self.context.situation(episode)):
                return self._skip(episode, response, why_not)
        if response.labels_min and not self.context.labels.settled(self.context.now_ns):
            return False
        situation = self.context.situation(episode)
        have = len(situation.labelled)
        if have < response.labels_min:
            return self._skip(episode, response, f"only {have} labels of the new world, {response.labels_min} needed")
        self.context.start(f"repair/{response.name}", response.repair(situation))
        return True

    def _skip(self, episode: Episode, response: Response, why_not: str) -> bool:
        self.context.note("response", response=response.name, outcome="not applied", reason=why_not)
        episode.rung += 1
        self.state = "climbing"
        return False

    def _while_climbing(self) -> None:
        self.state = "repairing"

    def _while_judging(self) -> None:
        episode = self.episode
        assert episode.candidate is not None
        if not self.context.labels.settled(self.context.now_ns):
            return
        job = self.context.work("judge", lambda: self.context.trial(episode))
        if job is None:
            return
        response = self.context.ladder[episode.rung].name
        episode.rung += 1
        if job.error:
            self.context.note("judgement", response=response, promote=False, reason=job.error)
            self.state = "repairing"
            return
        verdict: Verdict = judge(job.result[0], job.result[1], self.context.rule)
        self.context.note("judgement", response=response, **verdict.fields(), **spent(job))
        if verdict.promote:
            self.context.commands.append(Promote(episode.candidate, {"response": response, **verdict.fields()}))
            self.state = "promoting"
        else:
            self.context.counts["turned_down"] += 1
            self.state = "repairing"

    def _while_promoting(self) -> None: ...

    def _while_rolling_back(self) -> None: ...

    def _while_probation(self) -> None:
        """Watches the promoted variant at work for some seconds, then asks for a few labels."""
        episode, settings = self.episode, self.context.settings
        samples = self.context.samples(self.since_ns)
        waited = self.since_ns and self.context.now_ns - self.since_ns >= settings.probation_s * S
        if not waited or len(samples) < settings.probation_labels:
            return
        picked = np.sort(self.context.rng.permutation(len(samples))[: settings.probation_labels])
        episode.chance = [samples[i] for i in picked]
        self.context.ask(episode.chance, "probation")
        self.state = "comparing"

    def _while_comparing(self) -> None:
        episode = self.episode
        if not self.context.labels.settled(self.context.now_ns):
            return
        known = self.context.labels.of(episode.chance)
        if len(known) < max(10, len(episode.chance) // 2):
            self.context.count_and_note(
                "no_labels", asked=len(episode.chance), answered=len(known), purpose="probation"
            )
            self.settle(self.since_ns)
            return
        previous = self.context.stored[-1][0]
        part = labelled(known, self.context.block_ns)
        context = self.context
        job = context.work(
            "probation", lambda: trial(previous, context.incumbent, (part,), context.forward, context.scorer)
        )
        if job is not None:
            self._compared(episode, previous, job)

    def _compared(self, episode: Episode, previous: DeployedModel, job: BackgroundJob) -> None:
        if job.error:
            self.context.note("probation", outcome="failed", reason=job.error)
            self.settle(self.since_ns)
            return
        (paired,) = job.result
        finding = self.context.find(paired.after)
        before = float(np.mean(paired.before))
        self.context.accuracy_estimate = finding.accuracy
        fields = {"previous": round(before, 4), **finding.fields(), **spent(job)}
        if worse(paired, self.context.settings.confidence, self.context.settings.probation_loss):
            self.context.note("probation", outcome="worse", **fields)
            self.context.commands.append(Rollback(previous.name, "worse than the variant before it, in probation"))
            self.state = "rolling_back"
        elif finding.verdict == "harmful" and episode.rung < len(self.context.ladder):
            self.context.note("probation", outcome="better, not yet well", **fields)
            self.state, episode.began_ns = "gathering", self.context.now_ns
        else:
            self.context.note("probation", outcome="passed", **fields)
            self.context.expected = min(self.context.expected, max(finding.high, 1 / self.context.labels.classes))
            self.settle(self.since_ns)

    def _out_of_rungs(self, episode: Episode) -> None:
        if episode.promotions:
            self.context.note("response", outcome="no further rung helped", response="")
            self.settle(self.since_ns)
        else:
            self.give_up("no response passed the judge")

    def give_up(self, reason: str) -> None:
        """Ends the episode with nothing gained, for this reason."""
        self.context.count_and_note("given_up", reason=reason)
        self.rest()

    def settle(self, since_ns: int) -> None:
        """Ends the episode; the world since `since_ns` is to be learnt."""
        self.end, self.since_ns = "settle", since_ns

    def rest(self) -> None:
        """Ends the episode without learning its world."""
        self.end = "rest"

    def _waited(self, seconds: float) -> bool:
        return self.context.now_ns - self.episode.began_ns >= seconds * S
