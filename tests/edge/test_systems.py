"""Systems: found by listing the folder, the same in a comparison and in the daemon, and one line for a slip."""

import pickle
from pathlib import Path

import pytest

from edge.answers.cascade import Cascade
from edge.answers.single import Single
from edge.config import load as load_config
from edge.daemon import wire
from edge.estimators.rolling import Rolling
from edge.plugins import PlugIn
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from edge.systems import System, load, replaced, system, systems
from porting.errors import UserError
from tests.edge.daemon_builder import edge

EVERY = pytest.mark.parametrize("name", systems())


@EVERY
def test_every_file_builds(name: str):
    built = system(name)
    assert built.name == name
    assert repr(built.make_policy()).startswith("BackgroundShare(")
    assert callable(built.make_estimator().learn)
    assert all(callable(planner.observe) for planner in built.make_planners())
    assert all(callable(answer.opened) for answer in built.make_answers({}, ("m",)).values())


@EVERY
def test_every_system_travels_to_another_process(name: str):
    assert pickle.loads(pickle.dumps(system(name))) == system(name)


@EVERY
def test_what_is_made_is_new_each_time(name: str):
    once, again = system(name).make_policy(), system(name).make_policy()
    assert once == again
    assert once is not again


def test_a_file_names_its_options(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(
        'policy: {use: "edge.policies.fifo:Fifo", batch_max: 4}\n'
        'estimator: {use: "edge.estimators.rolling:Rolling", runs: 10}\n'
        'planners: [{use: "edge.planners.give_way:GiveWay"}]\n'
    )
    mine = system("mine.yaml", beside=tmp_path)
    assert mine.make_policy() == complete(Fifo(batch_max=4))
    assert mine.make_estimator() == Rolling(runs=10)
    assert list(mine.parts()) == ["policy", "estimator", "planners.0"]
    assert mine.table()["policy"]["batch_max"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "expected the keys policy, estimator, planners, answer"),
        ("planners: []", "policy: Field required"),
        ("policy: {use: nowhere}", "policy.use: "),
        ('polcy: {use: "edge.policies.fifo:Fifo"}', "keys: policy, estimator, planners, answer"),
        ("policy: [", "not YAML"),
    ],
)
def test_a_slip_is_one_line_with_its_file(tmp_path: Path, text: str, said: str):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load(file)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("fif", "did you mean 'fifo'?"), ("xyzzy", "known: "), ("../systems/fifo", "no system"), ("gone.yaml", "No such")],
)
def test_an_unknown_name_is_told_what_there_is(name: str, said: str):
    with pytest.raises(UserError, match=said):
        system(name)


def test_an_answer_takes_the_place_of_apps_that_ask_one_model():
    cascade = Cascade("detector", {"person": "persons"})
    apps = {"colour": Single("paint"), "junction": cascade}
    swapped = replaced(PlugIn(use="edge.answers.cascade:Cascade", detect="x"), {"junction": cascade})
    assert swapped == {"junction": cascade}
    assert replaced(PlugIn(use="edge.answers.single:Single"), apps) == apps
    assert replaced(None, apps) == apps


def test_a_model_that_is_asked_for_by_name_gets_the_answer_too():
    policy = PlugIn(use="edge.policies.fifo:Fifo")
    plain = System(name="plain", policy=policy)
    assert plain.make_answers({}, ("paint",)) == {"paint": Single("paint")}
    assert plain.needs() == frozenset()


@pytest.mark.parametrize("name", ["edf", "leeway", "clipper_exp3"])
def test_the_daemon_runs_what_the_comparison_runs(box: Path, name: str):
    chosen = system(name)
    parts = wire(load_config(edge(box, system=name)))
    assert parts.scheduler.policy == chosen.make_policy()
    assert type(parts.scheduler.state.estimator) is type(chosen.make_estimator())
    assert parts.scheduler.answers == chosen.make_answers({"colour": Single("paint")})
    kinds = {type(observer) for observer in parts.observers}
    assert {type(planner) for planner in chosen.make_planners()} <= kinds
