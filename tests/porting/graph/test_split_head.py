"""Heads found in every writing, cut off with equal answers; batch normalisations survive."""

import numpy as np
import onnx
import pytest
from onnx import helper

from porting.checks.equivalence import outputs_of
from porting.formats.tensors import softmax
from porting.graph.split_head import (
    BIAS,
    FEATURES,
    LOGITS,
    WEIGHT,
    find_head,
    head_graph,
    normalisations,
    split,
    strip_softmax,
)

ROWS = {"image": np.random.default_rng(2).random((4, 3, 32, 32), dtype=np.float32)}


def answers(cpu, parts):
    features = outputs_of(cpu, parts.backbone, ROWS)[FEATURES]
    return features, outputs_of(cpu, parts.head, {FEATURES: features, **parts.arrays})[LOGITS]


@pytest.mark.parametrize("head", ["gemm", "gemm-untransposed", "matmul-add", "matmul"])
@pytest.mark.parametrize("ends_in_softmax", [True, False])
def test_backbone_and_head_answer_as_the_whole(models, cpu, head, ends_in_softmax):
    model = models.mobile(head=head, softmax=ends_in_softmax)
    whole = outputs_of(cpu, model, ROWS)["out"]
    assert strip_softmax(model) == ("Softmax" if ends_in_softmax else None)
    parts = split(model)
    features, logits = answers(cpu, parts)
    np.testing.assert_allclose(softmax(logits) if ends_in_softmax else logits, whole, atol=1e-5)
    assert features.shape == (4, 16)
    assert parts.arrays[WEIGHT].shape == (5, 16)
    assert parts.arrays[BIAS].shape == (5,)
    onnx.checker.check_model(parts.backbone)
    onnx.checker.check_model(parts.head)


def test_batch_normalisations_and_weights_stay_and_the_head_is_gone(models):
    parts = split(models.mobile(softmax=False))
    assert normalisations(parts.backbone) == 3
    names = {tensor.name for tensor in parts.backbone.graph.initializer}
    assert "c1.w" in names
    assert not names & {"fc.w", "fc.b"}


def test_another_head_changes_the_answer_without_another_graph(models, cpu):
    parts = split(models.mobile(softmax=False))
    features = outputs_of(cpu, parts.backbone, ROWS)[FEATURES]
    zeros = {name: np.zeros_like(array) for name, array in parts.arrays.items()}
    assert not outputs_of(cpu, parts.head, {FEATURES: features, **zeros})[LOGITS].any()


def test_heads_of_equal_size_are_equal_bytes_whatever_the_model(models):
    a, b = (split(models.mobile(softmax=False, seed=seed)).head.SerializeToString() for seed in (1, 2))
    assert a == b == head_graph(5, 16).SerializeToString()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda m: m.mobile(head="conv", softmax=False), "last layer is Conv"),
        (lambda m: m.detector(), "not a linear one"),
    ],
)
def test_without_a_linear_head_it_is_one_stage_and_says_so(models, build, said):
    parts = split(build(models))
    assert parts.head is None
    assert said in parts.note


def test_no_cut_when_not_wanted(models):
    model = models.mobile(softmax=False)
    assert split(model, cut=False).backbone is model


def test_a_tensor_that_is_called_features_already_makes_no_confusion(models, cpu):
    model = models.mobile(softmax=False)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == "r1":
                    names[at] = FEATURES
    whole = outputs_of(cpu, model, ROWS)["out"]
    np.testing.assert_allclose(answers(cpu, split(model))[1], whole, atol=1e-5)


def test_a_head_with_a_computed_weight_is_none(models):
    model = models.mobile(softmax=False)
    model.graph.node[-1].input[1] = "computed"
    model.graph.node.insert(0, helper.make_node("Neg", ["fc.w"], ["computed"]))
    assert isinstance(find_head(model), str)
