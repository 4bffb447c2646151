"""Models as they come: repaired with a line that says so, or refused with a line that says why."""

import contextlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper

from porting.checks.equivalence import outputs_of
from porting.errors import UserError
from porting.graph import edit
from porting.intake.normalise import take_in

PICTURE = {"image": np.random.default_rng(1).random((1, 3, 32, 32), dtype=np.float32)}


def same_answer(cpu, original, taken):
    (before,) = outputs_of(cpu, original, PICTURE).values()
    (after,) = outputs_of(cpu, taken.model, PICTURE).values()
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_good_model_needs_no_repair(models, cpu, saved):
    taken = take_in(saved(models.mobile()), cpu)
    assert (taken.repairs, taken.notes, taken.batches, taken.layout) == ([], [], (), "NCHW")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"opset": 8, "ir": 3, "initializers_listed": True}, ["17 weights were listed", "operator set 8 converted"]),
        ({"ir": 4, "initializers_listed": True}, ["weights were listed"]),
        ({"opset": 9}, ["operator set 9 converted to 13"]),
        ({"output_shape": False}, ["output's shape was missing"]),
        ({"batch": 1}, ["batch was fixed at 1, now any size"]),
        ({"batch": 1, "reshape": [1, 16]}, ["batch was fixed at 1"]),
        ({"batch": 1, "reshape": [1, -1]}, ["batch was fixed at 1"]),
        ({"batch": 1, "opset": 8, "ir": 3, "initializers_listed": True}, ["listed", "converted", "batch was fixed"]),
    ],
)
def test_repairs_are_listed_and_change_no_answer(models, cpu, saved, options, said):
    original = models.mobile(**options)
    taken = take_in(saved(original), cpu)
    assert len(taken.repairs) == len(said)
    assert all(want in got for want, got in zip(said, taken.repairs, strict=True))
    assert taken.batches == ()
    same_answer(cpu, original, taken)
    (rows,) = outputs_of(cpu, taken.model, taken.sample(3)).values()
    assert len(rows) == 3


def test_a_graph_that_mixes_its_rows_stays_at_one_picture(models, cpu, saved):
    model = models.mobile(batch=1)
    model.graph.initializer.append(models.tensor("axes", [0], np.int64))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("ReduceMean", ["before"], ["mean"], axes=[0]))
    model.graph.node.append(helper.make_node("Sub", ["before", "mean"], ["out"]))
    taken = take_in(saved(model), cpu)
    assert taken.batches == (1,)
    assert any("one picture at a time" in note for note in taken.notes)


def test_a_fixed_batch_of_four_is_freed(models, cpu, saved):
    taken = take_in(saved(models.mobile(batch=4)), cpu)
    assert taken.batches == ()
    assert "fixed at 4" in taken.repairs[0]


def test_a_picture_without_a_batch_axis_gets_one(models, cpu, saved):
    weights = [models.tensor("axes", [0], np.int64), models.tensor("w", np.ones((4, 3, 3, 3)))]
    nodes = [
        helper.make_node("Unsqueeze", ["image", "axes"], ["x"]),
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Squeeze", ["p"], ["out"]),
    ]
    inputs, outputs = [models.value("image", [3, 32, 32])], [models.value("out", [4])]
    taken = take_in(saved(models.model_of(nodes, inputs, outputs, weights)), cpu)
    assert "the input had no batch axis" in taken.repairs
    (out,) = outputs_of(cpu, taken.model, PICTURE).values()
    assert out.shape == (1, 4)


def test_an_open_size_is_asked_for_and_set(models, cpu, saved):
    model = models.mobile()
    edit.set_shape(model.graph.input[0], ["N", 3, "h", "w"])
    path = saved(model)
    with pytest.raises(UserError, match="--input-size"):
        take_in(path, cpu)
    taken = take_in(path, cpu, (48, 32))
    assert edit.shape_of(taken.input) == (None, 3, 32, 48)
    with pytest.raises(UserError, match="takes 32x32"):
        take_in(saved(models.mobile()), cpu, (48, 32))


def test_bytes_as_input(models, cpu, saved):
    model = models.mobile()
    model.graph.input[0].CopyFrom(models.value("pixels", ["N", 3, 32, 32], TensorProto.UINT8))
    model.graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["image"], to=TensorProto.FLOAT))
    taken = take_in(saved(model), cpu)
    assert edit.dtype_of(taken.input) == "uint8"


def with_two_inputs(models):
    model = models.mobile()
    model.graph.input.append(models.value("other", ["N", 5]))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Add", ["before", "other"], ["out"]))
    return model


def with_input(models, shape, kind=TensorProto.FLOAT):
    model = models.mobile()
    model.graph.input[0].CopyFrom(models.value("image", shape, kind))
    return model


def with_foreign_operator(models):
    model = models.mobile()
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Swirl", "my.ops"
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    return model


def with_sequence_output(models):
    model = models.mobile()
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model.graph.node.append(helper.make_node("SequenceConstruct", ["out"], ["list"]))
    model.graph.output[0].CopyFrom(helper.make_value_info("list", kind))
    return model


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (with_two_inputs, "2 inputs"),
        (lambda m: with_input(m, ["N", 3, 32, 32], TensorProto.INT64), "int64"),
        (lambda m: with_input(m, ["N", 3, 32, 32], TensorProto.DOUBLE), "float64"),
        (lambda m: with_input(m, None), "has no shape"),
        (lambda m: with_input(m, ["N", 100]), "is expected"),
        (lambda m: with_input(m, ["N", 7, 32, 32]), "1 or 3 channels"),
        (with_foreign_operator, "my.ops::Swirl is unknown"),
        (with_sequence_output, "output 'list' is a sequence_type, not a tensor"),
    ],
)
def test_what_cannot_be_ported_is_refused_in_one_line(models, cpu, saved, build, said):
    path = saved(build(models))
    with pytest.raises(UserError, match=said) as caught:
        take_in(path, cpu)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"hello, I am no model", "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not an ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (bytes(100), "not an ONNX file"),
        (0.5, "truncated"),
        (0.99, "truncated"),
        (10, "truncated"),
    ],
)
def test_files_that_are_no_models(models, cpu, tmp_path, content, said):
    whole = models.mobile().SerializeToString()
    if isinstance(content, int | float):
        content = whole[: content if isinstance(content, int) else int(len(whole) * content)]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        take_in(path, cpu)


def test_no_file_and_a_folder(cpu, tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            take_in(path, cpu)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_byte_is_a_model_or_a_user_error_and_nothing_else(models, cpu, tmp_path, seed):
    random = np.random.default_rng(seed)
    content = bytearray(models.mobile().SerializeToString())
    content[random.integers(len(content))] ^= int(random.integers(1, 256))
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert take_in(path, cpu).model.graph.node


def test_external_weights_are_taken_along_or_missed_by_name(models, cpu, tmp_path):
    model = models.mobile()
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "model.onnx")
    taken = take_in(tmp_path / "model.onnx", cpu)
    same_answer(cpu, models.mobile(), taken)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UserError, match=r"'weights\.bin', which is missing"):
        take_in(tmp_path / "model.onnx", cpu)
