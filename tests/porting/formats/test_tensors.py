"""Softmax and boxes: what must hold for any output."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from porting.formats.tensors import boxes, overlap, softmax
from porting.variant import OutputSpec

FINITE = st.floats(-1e6, 1e6, width=32)


def spec(labels=("vehicle", "person"), **options):
    return OutputSpec("detection", labels, "out", **options)


def columns(*rows):
    """One column for each (cx, cy, w, h, score, score)."""
    return np.array(rows, np.float32).T


@given(hn.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=FINITE))
def test_softmax_rows_sum_to_one_and_keep_the_order(logits):
    probs = softmax(logits)
    np.testing.assert_allclose(probs.sum(axis=-1), 1, atol=1e-5)
    assert (probs >= 0).all()
    assert (np.take_along_axis(probs, logits.argmax(axis=-1)[:, None], 1)[:, 0] == probs.max(axis=-1)).all()


def test_softmax_of_softmax_logarithm_is_itself():
    probs = softmax(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(softmax(np.log(probs)), probs, atol=1e-6)


def test_decoding_takes_the_label_of_the_best_score_and_corners_from_centers():
    (box,) = boxes(columns((10, 20, 4, 6, 0.1, 0.9), (1, 1, 2, 2, 0.2, 0.1)), spec())
    assert box == ("person", np.float32(0.9), (8, 17, 12, 23))


def test_the_weaker_of_two_overlapping_boxes_of_one_label_goes():
    same = columns((10, 10, 8, 8, 0.7, 0), (11, 10, 8, 8, 0.9, 0))
    other = columns((10, 10, 8, 8, 0.7, 0), (11, 10, 8, 8, 0, 0.9))
    assert [box.score for box in boxes(same, spec())] == [np.float32(0.9)]
    assert [box.label for box in boxes(other, spec())] == ["person", "vehicle"]


def test_nothing_above_the_threshold_is_an_empty_list():
    assert boxes(np.zeros((6, 0), np.float32), spec()) == []
    assert boxes(np.zeros((6, 10), np.float32), spec()) == []


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 150), st.sampled_from([0.0, 0.3, 0.6]))
def test_no_two_boxes_of_a_label_overlap_and_the_best_comes_first(seed, count, overlap_max):
    random = np.random.default_rng(seed)
    output = np.concatenate(
        [random.random((2, count)) * 40, random.random((2, count)) * 30 - 2, random.random((2, count))]
    )
    found = boxes(output.astype(np.float32), spec(overlap_max=overlap_max), boxes_max=20)
    assert len(found) <= 20
    assert [b.score for b in found] == sorted((b.score for b in found), reverse=True)
    assert all(b.score >= 0.3 and b.corners[0] <= b.corners[2] and b.corners[1] <= b.corners[3] for b in found)
    for label in ("vehicle", "person"):
        corners = np.array([b.corners for b in found if b.label == label]).reshape(-1, 4)
        shared = overlap(corners, corners) - np.eye(len(corners)) * 2
        assert (shared <= overlap_max + 1e-6).all()


@given(hn.arrays(np.float64, (3, 4), elements=st.floats(0, 100)))
def test_overlap_is_symmetric_and_between_none_and_all(values):
    corners = np.concatenate(
        [np.minimum(values[:, :2], values[:, 2:]), np.maximum(values[:, :2], values[:, 2:])], axis=1
    )
    shared = overlap(corners, corners)
    np.testing.assert_allclose(shared, shared.T)
    assert ((shared >= 0) & (shared <= 1 + 1e-9)).all()
