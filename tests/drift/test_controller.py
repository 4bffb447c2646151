"""From the first frame to the rollback, in virtual time, with a real CNN that knows a small world."""

import numpy as np
import pytest

from benchmarks.drift_world import CLASSES, Drive, clear, day, forward, night, trained
from drift.commands import RepairCandidate
from drift.controller import AdaptationController
from drift.repair.deployed import DeployedModel
from drift.repair.realign_statistics import Realign
from drift.settings import DriftSettings
from porting.formats.classification import Classification
from porting.formats.scorer import Scorer

SETTINGS = {"models": ("vehicles",), "false_alarms_per_day": 1.0, "bootstrap_draws": 300}


def settings(**changes):
    return DriftSettings(**{**SETTINGS, **changes})


def night_from(begin_s, end_s=1e9):
    return lambda at_s: night if begin_s <= at_s < end_s else day


class Broken:
    """A response whose candidate answers at random, or is no number at all."""

    labels_min = 0

    def __init__(self, value=0.0):
        self.name, self.value = "broken", value

    def applies(self, situation):
        return ""

    def repair(self, situation):
        head = situation.incumbent.head
        yield
        return RepairCandidate("broken", head=head.with_(head.weight * self.value, head.bias).arrays())


def test_a_harmful_drift_is_repaired():
    drive = Drive(settings(), condition=night_from(30)).run(80)
    before, drifted, after = drive.accuracy(0, 30), drive.accuracy(30, 36), drive.accuracy(60, 80)
    assert drifted < before - 0.3
    assert (after - drifted) / (before - drifted) > 0.6
    assert drive.told("promotion")[0][0] < 50, "twenty seconds after the drift it is repaired"
    assert drive.told("probation")[0][1]["outcome"] == "passed"
    status = drive.adaptation.status()
    assert (status["alarms"], status["promotions"], status["rollbacks"]) == (1, 1, 0)
    assert status["accuracy_estimate"] == pytest.approx(after, abs=0.15)


def test_the_world_that_comes_back_gets_its_variant_back():
    drive = Drive(settings(), condition=night_from(30, 80)).run(130)
    assert [fields["response"] for _, fields in drive.told("promotion")] == ["realign", "recall"]
    assert drive.accuracy(110, 130) > 0.85


def test_nothing_happens_while_nothing_drifts():
    drive = Drive(settings()).run(240)
    assert not drive.told("promotion")
    assert not drive.told("response")
    assert len(drive.told("alarm")) <= 1


def test_a_harmless_drift_moves_the_reference_and_trains_nothing():
    drive = Drive(
        settings(check_in=False, false_alarms_per_day=100.0), condition=lambda s: clear if s > 20 else day
    ).run(90)
    assert drive.told("alarm"), "the answers changed"
    assert {fields["verdict"] for _, fields in drive.told("audit")} == {"harmless"}
    assert not drive.told("response")
    assert drive.told("calibrated")[-1][1]["worlds"] >= 2


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_bad_response_never_serves(value, monkeypatch):
    monkeypatch.setattr(DriftSettings, "ladder", lambda self: [Broken(value)])
    drive = Drive(settings(), condition=night_from(30)).run(60)
    assert drive.told("judgement")
    assert not drive.told("promotion")
    assert drive.told("given_up")
    assert drive.adaptation.incumbent.name == "fp32"


class Fickle(Realign):
    """Useless when first tried, then what it should be."""

    tried = 0

    def repair(self, situation):
        self.tried += 1
        return super().repair(situation) if self.tried > 1 else Broken().repair(situation)


def test_what_was_given_up_is_tried_again_at_a_later_alarm(monkeypatch):
    response = Fickle(n0=16)
    monkeypatch.setattr(DriftSettings, "ladder", lambda self: [response])
    drive = Drive(settings(refractory_s=10, check_in=False), condition=night_from(30)).run(80)
    ((given_up_s, fields),) = drive.told("given_up")
    assert fields["reason"] == "no response passed the judge"
    alarms = [at_s for at_s, _ in drive.told("alarm")]
    assert [given_up_s + 10 <= at_s < given_up_s + 15 for at_s in alarms] == [False, True], "quiet, then once more"
    assert len(drive.told("promotion")) == 1
    assert drive.accuracy(70, 80) > 0.8


class Patient:
    """Needs labels, and counts how often it is asked whether it applies."""

    name, labels_min = "patient", 1

    def __init__(self):
        self.asked = 0

    def applies(self, situation):
        self.asked += 1
        return ""

    def repair(self, situation):
        yield
        return None


def test_a_response_is_asked_once_while_its_labels_come_in(monkeypatch):
    response = Patient()
    monkeypatch.setattr(DriftSettings, "ladder", lambda self: [response])
    drive = Drive(settings(refractory_s=1000), condition=night_from(30))
    drive.run(70)
    assert len(drive.told("response")) == response.asked == 1


def test_without_labels_nothing_is_promoted_and_it_is_said():
    drive = Drive(settings(label_timeout_s=5), condition=night_from(30))
    drive.teach = False
    drive.run(70)
    assert {fields["purpose"] for _, fields in drive.told("no_labels")} >= {"check_in"}
    assert "Promote" not in {kind for _, kind in drive.commands}
    assert drive.adaptation.status()["labels"]["expired"] > 0


def test_a_teacher_that_errs_and_hesitates_is_enough():
    def teacher(label, rng):
        chance = rng.random()
        return None if chance < 0.1 else int(rng.integers(CLASSES)) if chance < 0.15 else label

    drive = Drive(settings(teacher_error=0.05), condition=night_from(30), teacher=teacher).run(80)
    assert drive.accuracy(60, 80) > 0.7
    assert drive.adaptation.status()["labels"]["unsure"] > 0


def test_a_promotion_that_cannot_be_stored_leaves_what_served():
    drive = Drive(settings(), condition=night_from(30))
    drive.refuse = "disk full"
    drive.run(60)
    assert drive.told("refused")[0][1]["reason"] == "disk full"
    assert drive.adaptation.incumbent.name == "fp32"


def test_worse_in_probation_is_rolled_back():
    drive = Drive(settings(), condition=night_from(30))
    real = drive.adaptation.promoted

    def promoted_damaged(name):
        """What reaches the lane is not what was judged."""
        real(name)
        good = drive.adaptation.incumbent
        head = good.head.with_(np.roll(good.head.weight, 1, axis=0), good.head.bias)
        drive.adaptation.context.incumbent = DeployedModel(name, drive.incumbent.graph, head)

    drive.adaptation.promoted = promoted_damaged
    drive.condition = lambda at_s: night if 30 <= at_s < 44 else day  # and the day is back
    drive.run(62)
    assert "Rollback" in {kind for _, kind in drive.commands}
    assert drive.told("rollback")
    assert drive.adaptation.incumbent.name == "fp32"


def test_answers_of_another_variant_are_not_looked_at():
    drive = Drive(settings()).run(5)
    before = drive.adaptation.status()
    name = drive.adaptation.incumbent.name
    drive.adaptation.context.incumbent = DeployedModel("newer", drive.incumbent.graph, drive.incumbent.head)
    samples = list(drive.adaptation.context.recent)
    assert all(sample.variant == name for sample in samples)
    for sample in samples:
        drive.adaptation.observe(sample)
    after = drive.adaptation.status()
    assert after["samples"] == before["samples"]
    assert after["stale"] == len(samples)


def test_a_pointer_moved_by_hand_starts_anew():
    drive = Drive(settings()).run(10)
    drive.adaptation.served(DeployedModel("by-hand", drive.incumbent.graph, drive.incumbent.head))
    drive.run(30, begin_s=10)
    assert drive.told("audit")[-1][1]["purpose"] == "check_in"
    assert drive.adaptation.status()["state"] == "watching"


def test_a_start_by_night_can_recall_the_day():
    """The daemon begins with a repaired variant that the pointer names; the one that was ported is a recall away."""
    incumbent, reference = trained()
    drive = Drive(settings(), condition=night_from(30)).run(60)
    by_night = drive.adaptation.incumbent
    assert by_night.name != incumbent.name
    again = AdaptationController("vehicles", incumbent, reference, settings(), forward(), clock=drive._tick, seed=2)
    again.served(by_night)
    drive = Drive(settings(), condition=night_from(0, 40), start=again).run(90)
    assert [fields["response"] for _, fields in drive.told("promotion")] == ["recall"]
    assert drive.adaptation.incumbent.same_as(incumbent)
    assert drive.accuracy(75, 90) > 0.85


def test_same_seed_same_story():
    def story():
        drive = Drive(settings(), condition=night_from(15)).run(45)
        return [(at_s, note.kind, dict(note.fields)) for at_s, note in drive.notes]

    assert story() == story()


def test_the_model_of_this_world_is_worth_repairing():
    incumbent, reference = trained()
    assert Scorer.of_labels(5).of_answers(reference.answers, reference.labels).mean() > 0.9
    assert incumbent.head.answers(reference.features) == pytest.approx(reference.answers, abs=1e-5)


class Lenient(Classification):
    """Any answer is right enough."""

    def score(self, objects, truth):
        return 1.0


def test_the_format_says_what_is_right_and_so_whether_a_drift_does_harm():
    """The same night that costs a classifier half of its accuracy, seen by a format that minds nothing."""
    incumbent, reference = trained()
    scorer = Scorer(Lenient(), Scorer.of_labels(CLASSES).output)
    start = AdaptationController("vehicles", incumbent, reference, settings(), forward(), lambda: 0, 1, scorer)
    drive = Drive(settings(), condition=night_from(30), start=start).run(60)
    audits = [fields for _, fields in drive.told("audit")]
    assert audits
    assert {(fields["verdict"], fields["accuracy"]) for fields in audits} == {("harmless", 1.0)}
    assert not drive.told("promotion")
