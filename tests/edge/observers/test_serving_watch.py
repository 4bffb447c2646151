"""The watch over the pointers: told once for each move, never again, and a table that cannot be read moves nothing."""

from dataclasses import replace

import pytest

from edge.core.events import LoadFailed, Woke
from edge.core.interfaces import Moment
from edge.core.state import Model, State
from edge.estimators.table import Table
from edge.observers.journal import Journal
from edge.observers.serving_watch import PERIOD_NS, ServingWatch, served
from edge.sources.source import Delivery
from porting.errors import UserError
from porting.repository.repository import Repository
from tests.edge.daemon_builder import swapped


class Eye:
    """A watch and the time it looks at."""

    def __init__(self, repository, *models):
        self.troubles, self.now = [], 0
        self.watch = ServingWatch(repository, models, "cpu", lambda model, why: self.troubles.append((model, why)))

    def look(self, after_ns=PERIOD_NS, event=None, **models):
        self.now += after_ns
        state = State(Table(), models=models)
        posted = self.watch.observe(Moment(self.now, event or Woke(), (), state))
        return [(event.variant.model, event.variant.name) for event in posted]


@pytest.fixture
def repository(box):
    return Repository(box / "repository")


@pytest.fixture
def eye(repository):
    return Eye(repository, "paint", "tint")


def test_a_pointer_that_stays_is_no_news(eye):
    assert [eye.look() for _ in range(3)] == [[], [], []]


def test_a_move_is_told_once_with_its_stages(eye, repository):
    repository.serve("paint", swapped(repository))
    assert [eye.look() for _ in range(3)] == [[("paint", "swapped")], [], []]
    repository.rollback("paint")
    assert eye.look() == [("paint", "fp32")]


@pytest.mark.parametrize(("name", "said"), [("detection", "is a detection, that of fp32"), ("blots", "is not known")])
def test_a_variant_whose_outputs_mean_something_else_does_not_serve_beside_it(repository, name, said):
    parent = repository.variant("paint", "fp32")
    other = replace(parent, name="other", output=replace(parent.output, kind=name))
    repository.add_variant(other, repository.stages(parent, ""))
    with pytest.raises(UserError, match=said):
        served(repository, "paint", "cpu", ["other"])


def test_it_looks_no_more_often_than_its_period(eye, repository):
    eye.look()
    repository.serve("paint", swapped(repository))
    assert eye.look(after_ns=PERIOD_NS - 1) == []
    assert eye.look(after_ns=1) == [("paint", "swapped")]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"variant": "nobody"}', '{"no": "variant"}', '{"variant": "../x"}']
)
def test_a_pointer_that_makes_no_sense_is_told_and_moves_nothing(eye, repository, content):
    (repository.root / "paint" / "serving.json").write_text(content)
    assert eye.look() == []
    ((model, why),) = eye.troubles
    assert model == "paint"
    assert why
    assert eye.look() == []
    assert len(eye.troubles) == 1


def test_a_pointer_that_vanishes_moves_nothing(eye, repository):
    pointer = repository.root / "paint" / "serving.json"
    content = pointer.read_bytes()
    pointer.unlink()
    assert eye.look() == []
    pointer.write_bytes(content)
    assert eye.look() == [("paint", "fp32")]


def test_a_variant_that_is_given_up_is_told_once(eye):
    trouble = Model(trouble="head-2: flipped bit")
    for _ in range(3):
        eye.look(event=LoadFailed("cpu0", "s", "flipped bit"), paint=trouble)
    assert eye.troubles == [("paint", "head-2: flipped bit")]
    eye.look(event=LoadFailed("cpu0", "s", "x"), paint=Model())
    eye.look(event=LoadFailed("cpu0", "s", "flipped bit"), paint=trouble)
    assert len(eye.troubles) == 2


def test_what_serves_is_read_with_the_durations_of_the_device(repository):
    found = served(repository, "paint", "cpu")
    assert (found.variant.name, [stage.digest for stage in found.stages]) == ("fp32", list(found.variant.stages))
    assert all(set(stage.durations_ns) == {1, 2, 4} for stage in found.stages)
    assert not any(stage.durations_ns for stage in served(repository, "paint", "cuda").stages)


def test_a_model_that_serves_nothing_is_a_slip(repository):
    with pytest.raises(UserError, match="'nobody' serves nothing; port it"):
        served(repository, "nobody", "cpu")


class Press:
    def __init__(self):
        self.told = []

    def publish(self, topic, value, delivery):
        self.told.append((topic, value["kind"], delivery))


def test_the_journal_goes_to_the_file_and_to_both_topics(tmp_path):
    press, path = Press(), tmp_path / "deep" / "journal.jsonl"
    Journal(press, lambda: 7.0, path, pytest.fail)("alarm", "paint", {"stream": "gate"})
    assert press.told == [
        ("events", "alarm", Delivery(confirmed=True)),
        ("paint/drift", "alarm", Delivery(retain=True)),
    ]
    assert path.read_text() == '{"kind": "alarm", "model": "paint", "time": 7.0, "stream": "gate"}\n'


def test_a_journal_that_cannot_be_written_is_said_once(tmp_path):
    (tmp_path / "file").write_text("")
    said = []
    journal = Journal(Press(), lambda: 7.0, tmp_path / "file" / "journal.jsonl", said.append)
    for _ in range(2):
        journal("alarm", "paint", {})
    assert len(said) == 1
    assert "going on without it" in said[0]
