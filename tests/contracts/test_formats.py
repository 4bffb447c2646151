"""What every format promises, whichever file it is in: shapes come from what it says about itself."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from porting.formats.format import BoxFormat, HeadFormat, LabelFormat, PictureView, Signals
from porting.formats.registry import format_for, format_named, format_of, known
from porting.variant import InputSpec, OutputSpec, Variant, variant_from_json

SIZES = {"N": 1, "K": 3, "M": 7, "D": 5}  # what the letters of `Format.shape` stand for
LABELS = ("car", "bus", "van")
VIEW = PictureView("things", 64, 48, InputSpec("image", 1, 1))  # one pixel: boxes made of 0..1 reach beyond its edges

formats = pytest.mark.parametrize("format", known().values(), ids=lambda each: each.name)


def shape_of(format):
    return tuple(eval(size, {}, SIZES) for size in format.shape.strip("[]").split(","))


def graph_of(format):
    """An imported model whose output has the shape that the format reads."""
    return SimpleNamespace(path=Path("m.onnx"), repairs=[], output_name="out", output_shape=shape_of(format))


def spec_of(format):
    return format.settle(graph_of(format), LABELS)


def outputs(format):
    """Zeros, and random outputs, each of one picture."""
    rng, shape = np.random.default_rng(0), shape_of(format)[1:]
    rows = [np.zeros(shape, np.float32), *rng.random((30, *shape), np.float32)]
    return [{spec_of(format).name: row} for row in rows]


def test_there_are_formats_and_each_has_its_own_name():
    assert len(known()) >= 2
    assert all(format_named(name) is format and format.name == name for name, format in known().items())


@formats
def test_it_is_the_most_certain_about_its_own_graph(format):
    assert format_for(graph_of(format)) is format
    assert all(0 <= each.matches(graph_of(format)) <= 1 for each in known().values())
    assert not graph_of(format).repairs


@formats
def test_its_spec_comes_back_from_a_file_and_finds_it(format):
    variant = Variant("m", "v", (), spec_of(format))
    back = variant_from_json(json.loads(json.dumps(asdict(variant))))
    assert back == variant
    assert format_of(back.output) is format


@formats
def test_objects_are_sure_between_none_and_all_and_lie_in_the_picture(format):
    for tensors in outputs(format):
        for thing in format.read(spec_of(format), tensors, VIEW):
            assert 0 <= thing.score <= 1
            assert json.loads(json.dumps(thing.as_json()))["label"] == thing.label
            if thing.box is not None:
                x1, y1, x2, y2 = thing.box
                assert 0 <= x1 <= x2 <= VIEW.width
                assert 0 <= y1 <= y2 <= VIEW.height


@formats
def test_reading_changes_nothing_and_says_the_same_twice(format):
    for tensors in outputs(format):
        before = {name: array.copy() for name, array in tensors.items()}
        once, again = (format.read(spec_of(format), tensors, VIEW) for _ in range(2))
        assert once == again
        assert all((before[name] == array).all() for name, array in tensors.items())


@formats
def test_an_answer_is_right_where_it_is_the_truth(format):
    read = [format.read(spec_of(format), tensors, VIEW) for tensors in outputs(format)]
    assert all(format.score(said, said) == pytest.approx(1) for said in read)
    scores = [format.score(said, truth) for said in read for truth in read]
    assert all(0 <= score <= 1 for score in scores)
    assert min(scores) < 1, "every answer is right: no score at all"


@formats
def test_signals_are_finite_and_always_of_one_length(format):
    found = [format.signals(spec_of(format), tensors) for tensors in outputs(format)]
    assert all(isinstance(each, Signals) and np.isfinite(each.answer).all() for each in found)
    assert len({each.answer.shape for each in found}) == 1
    assert found[0].answer.ndim == 1
    assert len({each.answer.tobytes() for each in found}) > 1, "they say nothing about the outputs"


@formats
def test_boxes_are_of_kinds_that_it_names(format):
    things = [thing for tensors in outputs(format) for thing in format.read(spec_of(format), tensors, VIEW)]
    boxed = {thing.kind for thing in things if thing.box is not None}
    assert bool(boxed) == isinstance(format, BoxFormat)
    assert not boxed or boxed <= set(format.kinds(spec_of(format)))


@formats
def test_labels_share_one_whole_and_name_the_truth(format):
    if not isinstance(format, LabelFormat):
        pytest.skip("says no single label")
    spec = spec_of(format)
    for tensors in outputs(format):
        shares = format.shares(spec, format.signals(spec, tensors))
        assert list(shares) == list(LABELS)
        assert sum(shares.values()) == pytest.approx(1)
    truths = [format.truth(spec, k) for k in range(len(LABELS))]
    assert [[format.score(said, truth) for truth in truths] for said in truths] == np.eye(len(LABELS)).tolist()


@formats
def test_rows_read_together_say_what_each_says_alone(format):
    if not isinstance(format, HeadFormat):
        pytest.skip("has no head that answers rows")
    spec, given = spec_of(format), outputs(format)
    answers = format.probabilities(np.stack([tensors[spec.name] for tensors in given]))
    assert format.read_rows(spec, answers, "things") == [format.read(spec, tensors, VIEW) for tensors in given]
    np.testing.assert_array_equal(answers, [format.signals(spec, tensors).answer for tensors in given])


def test_specs_of_repositories_from_before_formats_are_read():
    old = {"kind": "detection", "labels": ["a"], "name": "out", "features": None, "score_min": 0.3, "overlap_max": 0.5}
    assert OutputSpec(**{**old, "labels": ("a",)}) == OutputSpec("detection", ("a",), "out")
    assert set(asdict(OutputSpec("detection", ("a",), "out"))) == set(old)


@formats
def test_what_is_read_from_signals_is_what_is_read(format):
    if (reads := getattr(format, "read_signals", None)) is None:
        pytest.skip("reads its tensors")
    spec = spec_of(format)
    for tensors in outputs(format):
        assert reads(spec, format.signals(spec, tensors), VIEW) == format.read(spec, tensors, VIEW)
