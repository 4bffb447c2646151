"""Scores of many answers: what the format says of each, and how far one label takes over."""

import numpy as np
import pytest

from porting.formats.scorer import Scorer

SCORER = Scorer.of_labels(3)


def test_rows_are_right_where_the_largest_is_the_label():
    answers = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]], np.float32)
    assert SCORER.of_answers(answers, np.array([0, 2, 0])).tolist() == [1.0, 0.0, 1.0]
    assert SCORER.classes == 3


def test_no_picture_has_no_score():
    assert SCORER.of_answers(np.zeros((0, 3)), []).shape == (0,)
    assert SCORER.excess([], []) == 0


@pytest.mark.parametrize(
    ("said", "labels", "excess"),
    [([0, 1, 2], [2, 1, 0], 0), ([0, 0, 0], [1, 1, 2], 1), ([0, 0, 1, 2], [0, 1, 1, 2], 0.25)],
)
def test_the_label_that_takes_over_is_seen(said, labels, excess):
    objects = SCORER.read(np.eye(3)[said])
    assert SCORER.excess(objects, labels) == pytest.approx(excess)
