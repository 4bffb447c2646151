"""Boxes of the input become boxes of the picture, and F1 counts each object once."""

import numpy as np
import pytest

from porting.formats.format import DetectedObject, PictureView
from porting.formats.yolo_detection import YoloDetection
from porting.variant import InputSpec, OutputSpec

FORMAT = YoloDetection()
SPEC = OutputSpec("detection", ("vehicle", "person"), "out", score_min=0.5)


def columns(*things):
    """[4 + 2, M] of (cx, cy, w, h, vehicle, person)."""
    return {"out": np.array(things, np.float32).T}


def thing(label="vehicle", x=0.0, score=0.9, width=10.0):
    return DetectedObject(label, label, score, (x, 0.0, x + width, 10.0))


def test_a_box_beyond_the_edge_ends_at_the_edge():
    (found,) = FORMAT.read(
        SPEC, columns((1, 31, 4, 8, 0.9, 0)), PictureView("cells", 64, 96, InputSpec("image", 32, 32))
    )
    assert found.box == (0.0, 81.0, 6.0, 96.0)


@pytest.mark.parametrize(
    ("said", "truth", "score"),
    [
        ([], [], 1.0),
        ([thing()], [], 0.0),
        ([], [thing()], 0.0),
        ([thing(x=2)], [thing()], 1.0),  # overlap 2/3
        ([thing(x=5)], [thing()], 0.0),  # overlap 1/3
        ([thing("person")], [thing()], 0.0),
        ([thing(), thing(x=1, score=0.8)], [thing()], 2 / 3),  # one object is found once
        ([thing(), thing(x=30)], [thing(), thing(x=60)], 0.5),
        ([thing(x=4, width=12, score=0.6), thing()], [thing(), thing(x=6)], 1.0),  # each takes the one it covers best
    ],
)
def test_f1_of_one_picture(said, truth, score):
    assert FORMAT.score(said, truth) == pytest.approx(score)


def test_the_signal_is_the_best_score_of_each_label():
    given = columns((8, 8, 4, 4, 0.1, 0.9), (24, 8, 4, 4, 0.4, 0.2))
    np.testing.assert_allclose(FORMAT.signals(SPEC, given).answer, [0.4, 0.9])
    np.testing.assert_array_equal(FORMAT.signals(SPEC, {"out": np.zeros((6, 0), np.float32)}).answer, [0, 0])
