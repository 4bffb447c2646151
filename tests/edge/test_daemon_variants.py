"""Variants beside the one that serves, in the running daemon: who is asked, what they say together, whom to name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import load
from edge.core.events import Combined, Feedback
from edge.core.interfaces import Moment
from edge.daemon import WiredDaemon, wire
from edge.observers.results import Results
from edge.observers.trace import replay
from edge.policies.fifo import Fifo
from edge.policies.wrappers.default_stack import complete
from edge.policies.wrappers.straggler_mitigation import StragglerMitigation
from edge.sources.source import Delivery, Value
from porting.errors import UserError
from porting.pipeline import derive
from porting.repository.repository import Repository
from tests.edge.daemon_builder import Daemon, edge, jpeg, swapped, within

VARIANTS = {"paint": ["swapped", "third"]}


@pytest.fixture
def trio(box: Path) -> Path:
    """`paint` has three variants: one is right, one calls red blue and blue red, one is as good as the first."""
    repository = Repository(box / "repository")
    swapped(repository)
    parent = repository.variant("paint", "fp32")
    head = next(stage.head for stage in repository.stages(parent, "") if stage.head)
    arrays = {name: (array * 0.9).astype(np.float32) for name, array in repository.arrays(str(head)).items()}
    derive(repository, parent, name="third", head=arrays)
    return box


def app(use: str, **options: Any) -> dict[str, Any]:
    return {"colour": {"use": f"edge.answers.{use}", "model": "paint", "slo_ms": 5000, **options}}


class Box(Daemon):
    """`heard`: what was made of the members' words; `published`: results as the daemon's own `Results` sends them."""

    def _begun(self, parts: WiredDaemon) -> None:
        self.heard: list[Combined] = []
        self.published: list[dict[str, Any]] = []
        for listener in parts.world.listeners:
            if isinstance(listener, Results):
                listener.publisher = self
        super()._begun(parts)

    def publish(self, topic: str, value: Value, delivery: Delivery) -> None:
        assert isinstance(value, dict)
        self.published.append(value)

    def observe(self, moment: Moment) -> tuple[()]:
        if isinstance(moment.event, Combined):
            self.heard.append(moment.event)
        return super().observe(moment)

    def said(self, colour: str) -> dict[str, Any]:
        """Send a frame; its result, once plug-ins have heard of it."""
        before = len(self.published)
        self.answered(jpeg(colour))
        assert within(lambda: len(self.published) > before)
        return self.published[-1]


def test_an_ensemble_of_variants_speaks_with_one_voice(trio: Path) -> None:
    with Box(edge(trio, apps=app("ensemble:Ensemble"), variants=VARIANTS)) as daemon:
        results = [daemon.said(colour) for colour in ("red", "green", "blue")]
        assert within(lambda: len(daemon.heard) == 3)
        assert daemon.stop()["frames"]["answered"] == 3
    assert [result["objects"] for result in results] == [
        [{"kind": "paint", "label": "red", "score": 0.6667}],
        [{"kind": "paint", "label": "green", "score": 1.0}],
        [{"kind": "paint", "label": "blue", "score": 0.6667}],
    ]
    assert results[0]["votes"] == {"paint/fp32": "red", "paint/swapped": "blue", "paint/third": "red"}
    assert [event.label for event in daemon.heard] == ["red", "green", "blue"]
    assert daemon.heard[0].votes == results[0]["votes"]


def test_too_little_agreement_is_no_object_or_the_apps_word(trio: Path) -> None:
    for default, objects in (("", []), ("paint", [{"kind": "paint", "label": "paint", "score": 0.6667}])):
        apps = app("ensemble:Ensemble", sure_min=0.9, default=default)
        with Box(edge(trio, apps=apps, variants=VARIANTS)) as daemon:
            assert daemon.said("red")["objects"] == objects


def test_scores_of_real_outputs_are_averaged(trio: Path) -> None:
    with Box(edge(trio, apps=app("ensemble:Ensemble", scores=True), variants=VARIANTS)) as daemon:
        assert daemon.said("blue")["objects"][0]["label"] == "blue"


def test_a_choice_among_variants_follows_feedback_and_can_be_replayed(trio: Path) -> None:
    trace = trio / "trace.jsonl"
    options = {"rate": 1.0, "seed": 5}
    with Daemon(edge(trio, apps=app("exp3:Exp3", **options), variants=VARIANTS, trace="trace.jsonl")) as daemon:
        (answer,) = (it for name, it in daemon.parts.scheduler.answers.items() if name == "colour")
        for _ in range(40):
            result = daemon.answered(jpeg("red"))
            request_id = int(result["id"].rpartition("-")[2])
            wrong = result["objects"][0]["label"] != "red"
            daemon.parts.world.post(Feedback(request_id, {f"paint/{result['models']['paint']}": float(wrong)}))
            assert within(lambda: request_id not in answer.drawn)  # noqa: B023
        assert answer.shares()["paint/swapped"] < 0.1
        assert {run.tasks[0].chain for run in daemon.runs} == {
            daemon.parts.repository.variant("paint", name).stages for name in ("fp32", "swapped", "third")
        }
    config = load(trio / "edge.yaml")
    fresh = {"colour": config.apps["colour"].build()}
    assert replay(trace, complete(config.policy.build()), fresh, config.estimator.build()) > 100


def test_a_cocktail_runs_live_and_can_be_replayed(trio: Path) -> None:
    config = edge(
        trio,
        apps=app("cocktail:Cocktail", interval=5, target=0.6),
        variants=VARIANTS,
        trace="trace.jsonl",
        policy={
            "use": "edge.policies.wrappers.straggler_mitigation:StragglerMitigation",
            "inner": {"use": "edge.policies.edf:EarliestDeadlineFirst"},
        },
    )
    with Box(config) as daemon:
        (answer,) = (it for name, it in daemon.parts.scheduler.answers.items() if name == "colour")
        for number in range(1, 13):
            daemon.said("green")
            assert within(lambda: len(daemon.heard) == number)  # noqa: B023
        assert len(answer.active) == 2  # three of three agree where two decide
    made = load(trio / "edge.yaml")
    fresh = {"colour": made.apps["colour"].build()}
    assert replay(trio / "trace.jsonl", complete(made.policy.build()), fresh, made.estimator.build()) > 30
    assert fresh["colour"].active == answer.active


def test_a_hot_swap_moves_the_pointer_and_keeps_those_beside_it(trio: Path) -> None:
    with Box(edge(trio, apps=app("ensemble:Ensemble"), variants=VARIANTS)) as daemon:
        assert list(daemon.said("red")["votes"]) == ["paint/fp32", "paint/swapped", "paint/third"]
        daemon.parts.repository.serve("paint", "third")
        assert within(lambda: daemon.parts.scheduler.state.models["paint"].serving.name == "third")
        assert list(daemon.said("red")["votes"]) == ["paint/third", "paint/swapped"]


def test_one_that_was_deleted_does_not_hold_up_a_hot_swap(trio: Path) -> None:
    with Box(edge(trio, apps=app("ensemble:Ensemble"), variants=VARIANTS)) as daemon:
        repository = daemon.parts.repository
        repository.variant_path("paint", "swapped").unlink()
        repository.serve("paint", "third")
        assert within(lambda: daemon.parts.scheduler.state.models["paint"].serving.name == "third")
        assert daemon.said("red")["votes"] == {"paint/third": "red"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variants": {"paint": ["smal"]}}, "'smal'"),
        ({"variants": {"paind": ["swapped"]}}, "variants: no app asks model 'paind'; the apps ask paint"),
        (
            {"apps": app("ensemble:Ensemble", members=["paint/third"])},
            "apps.colour.members: 'paint/third' is not served; served are fp32, swapped; name it in `variants` as well",
        ),
        (
            {"apps": app("ensemble:Ensemble", members=["paint", "cells"])},
            "apps.colour: 'cells' is no classifier; only what classifiers say can be combined",
        ),
        ({"apps": {"colour": {"use": "edge.answers.exp3:Exp3", "slo_ms": 50}}}, "no model to ask"),
        (
            {"apps": app("infaas:ModelLess", accuracy_min=1.01)},
            "apps.colour.accuracy_min: 1.01, but the best variant of paint on offer is",
        ),
    ],
)
def test_a_slip_is_one_line(trio: Path, changes: dict[str, Any], said: str) -> None:
    path = edge(trio, **{"variants": {"paint": ["swapped"]}, **changes})
    with pytest.raises(UserError) as caught:
        wire(load(path)).served()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_wrapper_stands_around_the_policy_of_the_file(trio: Path) -> None:
    policy = {
        "use": "edge.policies.wrappers.straggler_mitigation:StragglerMitigation",
        "inner": {"use": "edge.policies.fifo:Fifo", "batch_max": 2},
    }
    made = load(edge(trio, policy=policy)).policy.build()
    assert isinstance(made, StragglerMitigation)
    assert made == StragglerMitigation(Fifo(batch_max=2))


def test_a_request_without_a_variant_is_answered_by_one_that_fits(trio: Path) -> None:
    with Box(edge(trio, apps=app("infaas:ModelLess", slo_ms=5000), variants=VARIANTS)) as daemon:
        assert daemon.said("green")["objects"][0]["label"] == "green"
        assert set(daemon.said("green")["models"]) == {"paint"}


def test_what_people_say_of_a_result_is_feedback(trio: Path) -> None:
    with Box(edge(trio, apps=app("exp3:Exp3", rate=1.0), variants=VARIANTS)) as daemon:
        (answer,) = (it for name, it in daemon.parts.scheduler.answers.items() if name == "colour")
        answer_with = daemon.parts.inbox.answer
        for _ in range(40):
            result = daemon.said("red")
            answer_with(result["id"], "red")
            request_id = int(result["id"].rpartition("-")[2])
            assert within(lambda: request_id not in answer.drawn)  # noqa: B023
        answer_with("nobody-knows", "red")
        answer_with(daemon.said("red")["id"], None)
        assert answer.shares()["paint/swapped"] < 0.1


def test_nobody_listens_for_labels_where_nobody_learns(trio: Path) -> None:
    assert not wire(load(edge(trio))).inbox.hears_labels
