"""A port from end to end on real graphs: what is stored answers as the file did, and gates keep the old one serving."""

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from rich.console import Console

from porting.checks.chain import Chain
from porting.checks.gates import Gates
from porting.checks.profiler import measure, summary
from porting.errors import UserError
from porting.pipeline import derive, port
from porting.repository.repository import Repository
from porting.samples import Samples, blocks_of
from porting.variant import InputSpec

QUICK = {"budget_ns": 1, "batches": (1, 2)}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "models")


def pictures(count=40, labels=5, size=32, seed=0):
    random = np.random.default_rng(seed)
    colors = random.integers(0, 256, (count, 3))  # the model pools: mean colours tell them apart
    images = [(color + random.integers(-9, 10, (size, size, 3))).clip(0, 255).astype(np.uint8) for color in colors]
    return Samples(images, random.integers(0, labels, count), blocks_of(np.zeros(count)))


def answers(repository, cpu, model, samples):
    variant = repository.variant(model, repository.serving(model))
    spec = repository.stages(variant, "")[0].input
    with Chain.of(repository, variant, cpu) as chain:
        return chain.classify(samples.images, spec, variant.output.name, variant.output.features)


def labelled_by(repository, cpu, model, samples):
    """Samples whose truth is what the stored model says: accuracy 1 by construction."""
    return samples._replace(labels=answers(repository, cpu, model, samples).logits.argmax(axis=1))


def test_a_classifier_is_stored_in_two_stages_measured_and_served(models, cpu, repository, saved):
    steps = []
    report = port(saved(models.mobile()), "things", repository, cpu, labels="abcde", **QUICK,
                  progress=lambda step, share: steps.append((step, share)))  # fmt: skip
    variant = repository.variant("things", "fp32")
    backbone, head = repository.stages(variant, "cpu")
    assert report.served
    assert repository.serving("things") == "fp32"
    assert (variant.output.kind, variant.output.labels) == ("classification", tuple("abcde"))
    assert (variant.output.name, variant.output.features) == ("logits", "features")
    assert (backbone.input.width, backbone.input.height, head.input) == (32, 32, None)
    assert set(backbone.durations_ns) == set(head.durations_ns) == {1, 2}
    assert all(ns > 0 for ns in backbone.durations_ns.values())
    assert set(repository.arrays(head.head)) == {"head.weight", "head.bias"}
    assert report.difference < 1e-4
    assert {step for step, _ in steps} >= {"taking the model in", "measuring the backbone", "storing"}
    assert all(0 <= share <= 1 for _, share in steps)
    assert repository.verify() == []


def test_report_is_a_table_and_json(models, cpu, repository, saved):
    report = port(saved(models.mobile()), "things", repository, cpu, samples=pictures(), **QUICK)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report.table())
    text = console.export_text()
    assert all(word in text for word in ("things / fp32", "backbone", "head", "p99", "accuracy by label"))
    back = json.loads(json.dumps(report.as_json()))
    assert back["stages"][0]["timings"]["1"]["runs"] >= 5
    assert back["p99_ns"] > 0


def test_accuracy_gates_and_reference_on_labelled_samples(models, cpu, repository, saved):
    path = saved(models.mobile())
    port(path, "things", repository, cpu, input={"scale": 1 / 255}, **QUICK)
    samples = labelled_by(repository, cpu, "things", pictures())
    report = port(path, "things", repository, cpu, input={"scale": 1 / 255}, samples=samples, **QUICK)
    assert report.accuracy.top1 == report.accuracy.original == 1.0
    assert (report.variant, repository.serving("things")) == ("fp32-2", "fp32-2")  # it knows its accuracy now
    reference = repository.reference("things")
    count = len(samples.labels)
    assert {name: array.shape for name, array in reference.items()} == {
        "images": (count, 32, 32, 3), "labels": (count,), "probs": (count, 5), "features": (count, 16),
        "stream": (count,), "block": (count,),
    }  # fmt: skip
    assert (reference["probs"].argmax(axis=1) == reference["labels"]).all()
    refused = port(path, "things", repository, cpu, samples=pictures(seed=5), gates=Gates(accuracy_min=0.9), **QUICK)
    assert "below 0.9" in refused.gates[0]
    assert not refused.served
    assert repository.serving("things") == "fp32-2"


def test_the_same_file_again_is_the_same_variant(models, cpu, repository, saved):
    path = saved(models.mobile())
    names = [port(path, "things", repository, cpu, **QUICK).variant for _ in range(2)]
    assert names == ["fp32", "fp32"]
    assert port(saved(models.mobile(seed=1), "b.onnx"), "things", repository, cpu, **QUICK).variant == "fp32-2"


def test_an_unknown_scaling_is_found_by_trying(models, cpu, repository, saved):
    path, spec = saved(models.mobile()), {"scale": 1.0}
    port(path, "truth", repository, cpu, input=spec, **QUICK)
    samples = labelled_by(repository, cpu, "truth", pictures(count=80))
    assert len(set(samples.labels)) > 1
    report = port(path, "things", repository, cpu, samples=samples, **QUICK)
    assert report.input["scale"] == 1.0
    assert any("0..255 as it is" in note for note in report.notes)
    few = port(path, "guess", repository, cpu, **QUICK)
    assert any("x / 255 is assumed" in note for note in few.notes)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_detector_is_one_stage_with_rows_before_columns(models, cpu, repository, saved, transposed):
    report = port(saved(models.detector(transposed=transposed)), "detector", repository, cpu,
                  labels=["vehicle", "person"], output={"score_min": 0.4}, **QUICK)  # fmt: skip
    variant = repository.variant("detector", "fp32")
    assert [stage.name for stage in report.stages] == ["whole"]
    assert (variant.output.kind, variant.output.score_min) == ("detection", 0.4)
    with Chain.of(repository, variant, cpu) as chain:
        out = chain.run({"image": np.zeros((2, 3, 32, 32), np.float32)})[variant.output.name]
    assert out.shape == (2, 6, 16)


def test_a_model_of_one_picture_at_a_time_is_stored_so(models, cpu, repository, saved):
    model = models.mobile(batch=1, softmax=False)
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("ReduceMean", ["before"], ["mean"], axes=[0]))
    model.graph.node.append(helper.make_node("Add", ["before", "mean"], ["out"]))
    port(saved(model), "things", repository, cpu, samples=pictures(6), **QUICK)
    (stage,) = repository.stages(repository.variant("things", "fp32"), "cpu")
    assert stage.batches == (1,)
    assert set(stage.durations_ns) == {1}


def test_a_derived_head_answers_otherwise_on_the_same_backbone(models, cpu, repository, saved):
    port(saved(models.mobile()), "things", repository, cpu, **QUICK)
    samples, parent = pictures(8), repository.variant("things", "fp32")
    before = answers(repository, cpu, "things", samples)
    head = repository.arrays(repository.stages(parent, "")[1].head)
    turned = {"head.weight": -head["head.weight"], "head.bias": -head["head.bias"]}
    child = derive(repository, parent, name="head-1", head=turned, made_by={"by": "drift"}, accuracy=0.7)
    assert repository.serving("things") == "fp32"
    repository.serve("things", child.name)
    after = answers(repository, cpu, "things", samples)
    np.testing.assert_allclose(after.features, before.features)
    np.testing.assert_allclose(after.logits, -before.logits, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ["a", "b"]}, "5 classes, 2 labels"),
        ({"kind": "detection"}, "a detector gives"),
        ({"input": {"color": "gray"}}, "does not fit 3 channels"),
        ({"input": {"colour": "rgb"}}, "unknown key 'colour'"),
        ({"input": {"layout": "NHWC"}}, "layout NHWC does not fit"),
        ({"input": {"width": 64, "height": 64}}, "takes 32x32"),
    ],
)
def test_slips_are_one_line_and_store_nothing(models, cpu, repository, saved, options, said):
    with pytest.raises(UserError, match=said) as caught:
        port(saved(models.mobile()), "things", repository, cpu, **QUICK, **options)
    assert "\n" not in str(caught.value)
    assert repository.models() == []


def test_a_whole_input_spec_is_taken_as_it_is(models, cpu, repository, saved):
    spec = InputSpec("whatever", 32, 32, color="bgr", scale=1 / 127.5, mean=(1.0,))
    report = port(saved(models.mobile()), "things", repository, cpu, input=spec, **QUICK)
    assert {**report.input, "name": "whatever"} == {**{f: getattr(spec, f) for f in spec.__slots__}}


@pytest.mark.parametrize(
    ("gates", "said"), [(Gates(p99_ms_max=1e-6), "above 1e-06 ms"), (Gates(accuracy_min=0.5), "no labelled samples")]
)
def test_gates_without_samples(models, cpu, repository, saved, gates, said):
    report = port(saved(models.mobile()), "things", repository, cpu, gates=gates, **QUICK)
    assert said in report.gates[0]
    assert repository.serving("things") is None


def test_labels_in_the_file_are_used(models, cpu, repository, saved):
    model = models.mobile()
    model.metadata_props.add(key="names", value="{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}")
    assert port(saved(model), "things", repository, cpu, **QUICK).labels == tuple("abcde")


class Ticks:
    """An engine whose nth run takes n, and the clock that sees it."""

    inputs = outputs = ()

    def __init__(self):
        self.now = self.runs = 0

    def run(self, inputs):
        self.runs += 1
        self.now += self.runs
        return {}

    def clock(self):
        return self.now


def test_measuring_leaves_out_the_warm_up_and_ends_in_bounded_time():
    engine = Ticks()
    timing = measure(engine, lambda batch: {}, (1,), budget_ns=10_000, clock=engine.clock)[1]
    assert timing.runs < 300
    assert timing.p50_ns > 3  # the first three runs are not among them
    assert engine.now < 10_000 + 200
    assert measure(engine, lambda batch: {}, (1,), budget_ns=0, clock=engine.clock)[1].runs == 5


def test_p99_is_never_between_two_runs():
    timing = summary([1] * 98 + [5, 9])
    assert (timing.p50_ns, timing.p99_ns, timing.runs) == (1, 9, 100)


def test_a_model_of_somebody_else_is_repaired_and_cut(cpu, repository):
    """ShuffleNet as the ONNX package brings it: IR 3, operator set 9, weights among the inputs, batch 1, Softmax."""
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_shufflenet.onnx"
    report = port(path, "shufflenet", repository, cpu, **QUICK)
    assert [stage.name for stage in report.stages] == ["backbone", "head"]
    assert len(report.repairs) == 3
    assert report.difference < 1e-4
    assert repository.arrays(repository.stages(repository.variant("shufflenet", "fp32"), "")[1].head)[
        "head.weight"
    ].shape == (1000, 544)


def test_samples_find_the_models_own_label_order_by_name(models, cpu, repository, saved):
    path = saved(models.mobile())
    port(path, "things", repository, cpu, input={"scale": 1.0}, **QUICK)
    samples = labelled_by(repository, cpu, "things", pictures())
    model = models.mobile()
    model.metadata_props.add(key="labels", value="['e', 'd', 'c', 'b', 'a']")
    alphabetical = samples._replace(labels=4 - samples.labels, names=tuple("abcde"))
    report = port(saved(model, "b.onnx"), "own", repository, cpu, input={"scale": 1.0}, samples=alphabetical, **QUICK)
    assert (report.labels, report.accuracy.top1) == (tuple("edcba"), 1.0)
    named = port(path, "named", repository, cpu, input={"scale": 1.0}, samples=alphabetical, **QUICK)
    assert named.labels == tuple("abcde")  # the file says nothing: the folders do
    with pytest.raises(UserError, match="class 'a' is none of the labels"):
        port(path, "other", repository, cpu, labels="vwxyz", samples=alphabetical, **QUICK)
