"""A name leads to one format, a graph to the one that is most certain, and a mistake to one line."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from porting.errors import UserError
from porting.formats.classification import Classification
from porting.formats.registry import format_for, format_named, format_of
from porting.formats.yolo_detection import YoloDetection
from porting.variant import OutputSpec

OWN = "porting.formats.classification:Classification"


def graph(*shape):
    return SimpleNamespace(path=Path("m.onnx"), output_shape=shape or None)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (("N", 5), Classification),
        ((None, 5), Classification),
        ((1, 5, 1, 1), Classification),
        ((1, 6, 16), YoloDetection),
        ((None, 8400, 84), YoloDetection),
        ((1, None, None), YoloDetection),
    ],
)
def test_a_graph_is_known_by_its_output(shape, kind):
    assert type(format_for(graph(*shape))) is kind


@pytest.mark.parametrize("shape", [(), (5,), (1, 3, 64, 64), (1, 5, 7, 7), (1, 2, 3, 4, 5)])
def test_what_no_format_reads_is_said_in_one_line(shape):
    with pytest.raises(UserError, match=r"m\.onnx: output shape .* is neither \[N, K\]") as caught:
        format_for(graph(*shape))
    assert "\n" not in str(caught.value)


def test_one_name_is_one_object_and_a_path_is_a_name():
    assert format_named("detection") is format_of(OutputSpec("detection", ("a",), "out"))
    assert format_named(OWN) is format_named(OWN)
    assert type(format_named(OWN)) is Classification


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("segmentation", "not known; expected classification, detection or package.module:Class"),
        ("no.such:Thing", "'no.such:Thing' cannot be imported"),
        ("porting.formats.classification:Missing", "cannot be imported"),
        ("porting.formats.format:Format", "cannot be used"),
        ("porting.formats.tensors:softmax", "cannot be used"),
        ("builtins:dict", "is no format"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(name, said):
    with pytest.raises(UserError, match=said) as caught:
        format_named(name)
    assert "\n" not in str(caught.value)
