"""Who answers for a label: the teacher's best guess among the student's labels, or people, who may never answer."""

from types import SimpleNamespace

import numpy as np
import pytest

from drift.samples import Sample
from edge.core.events import Reply, Request
from edge.data.job import InFlightRequest, TaskJob
from edge.data.outcome import TaskOutcome
from edge.observers.adaptation.labels import People, Teacher, best
from porting.formats.format import Signals
from porting.images import decode
from porting.variant import OutputSpec, Variant

LABELS = ("car", "bus")


def sample(number=1):
    return Sample(number, "gate", 0, np.full((8, 6, 3), 200, np.uint8)[::-1], np.ones(2) / 2, np.ones(3))


def said_by(labels, probs):
    """An answered request to a teacher that knows `labels`."""
    output = OutputSpec("classification", labels, "logits")
    opened = InFlightRequest(Request(1, "teacher", "background", 0))
    outcome = TaskOutcome(signals=Signals(np.array(probs, np.float32)))
    opened.jobs[4] = TaskJob("teacher", Variant("teacher", "fp32", (), output), outcome=outcome)
    return opened, Reply(1, "ok", (4,))


@pytest.mark.parametrize(
    ("labels", "probs", "expected"),
    [
        (LABELS, (0.25, 0.75), ("bus", 0.75)),
        (("van", "bus", "car"), (0.8, 0.05, 0.15), ("car", 0.75)),
        (("van", "car"), (0.5, 0.5), ("car", 1.0)),
        (("van", "tram"), (0.5, 0.5), (None, 0.0)),
        (("van", "bus", "car"), (1.0, 0.0, 0.0), (None, 0.0)),
    ],
)
def test_the_likeliest_of_the_students_labels_is_taken(labels, probs, expected):
    label, confidence = best(*said_by(labels, probs), LABELS)
    assert (label, round(confidence, 5)) == expected


class World:
    """Keeps what is submitted."""

    def __init__(self):
        self.submitted = []

    def submit(self, app, on_reply, picture=None, step=None, priority=0):
        self.submitted.append((app, on_reply, picture))
        return len(self.submitted)


@pytest.mark.parametrize("outcome", ["failed", "refused", "stopped"])
def test_a_teacher_who_could_not_look_says_nothing(outcome):
    world, said = World(), []
    Teacher(world, lambda model: "professor").ask("paint", LABELS, sample(3), {}, lambda *words: said.append(words))
    ((app, on_reply, picture),) = world.submitted
    assert app == "professor"
    assert picture.pixels().shape == (8, 6, 3)
    on_reply(InFlightRequest(Request(1, "professor", "background", 0)), Reply(1, outcome))
    assert said == [(3, None, 0.0)]


def test_a_teachers_answer_goes_to_who_asked():
    world, said = World(), []
    Teacher(world, lambda model: "professor").ask("paint", LABELS, sample(3), {}, lambda *words: said.append(words))
    world.submitted[0][1](*said_by(LABELS, (0.25, 0.75)))
    assert said == [(3, "bus", 0.75)]


class AtOnce:
    """A worker that does not wait for its turn; or one that keeps everything, to be done by hand."""

    def __init__(self, keep=False):
        self.keep, self.kept = keep, []

    def do(self, act, told):
        if self.keep:
            self.kept.append((act, told))
        else:
            told(act())


@pytest.fixture
def people():
    asked = []
    made = People(AtOnce(), SimpleNamespace(publish=lambda *said: asked.append(said)))
    made.asked = asked
    return made


def test_people_see_the_picture_and_their_answer_counts_once(people):
    said = []
    people.ask("paint", LABELS, sample(7), {"camera": "gate"}, lambda *words: said.append(words))
    ((topic, jpeg, delivery),) = people.asked
    assert (topic, delivery.confirmed, delivery.content_type) == ("label/request", True, "image/jpeg")
    assert delivery.headers == {"id": "paint-7", "model": "paint", "camera": "gate"}
    assert decode(jpeg).shape == (8, 6, 3)
    for label in ("bus", "car"):
        people.answered("paint-7", label)
    people.answered("paint-8", "car")
    assert said == [(7, "bus", 1.0)]


def test_asking_encodes_nothing_on_the_loop(people):
    people.worker = AtOnce(keep=True)
    for number in range(3):
        people.ask("paint", LABELS, sample(number), {}, lambda *words: None)
    assert (len(people.worker.kept), people.asked) == (3, [])
    people.open.pop("paint-1")  # forgotten meanwhile: nobody is asked
    for act, told in people.worker.kept:
        told(act())
    assert [delivery.headers["id"] for *_, delivery in people.asked] == ["paint-0", "paint-2"]


def test_questions_that_nobody_answers_are_bounded(people):
    people.OPEN_MAX = 5
    said = []
    for number in range(12):
        people.ask("paint", LABELS, sample(number), {}, lambda *words: said.append(words))
    assert [*people.open] == [f"paint-{number}" for number in range(7, 12)]
    people.answered("paint-3", "bus")
    people.answered("paint-11", None)
    assert said == [(11, None, 1.0)]
