"""The drawn junction: repeatable, continuous, and honest about what can be seen."""

import hashlib
from collections import defaultdict
from itertools import pairwise

import cv2
import numpy as np
import pytest

from examples.conditions import CONDITIONS
from examples.junction.change import Mix, knock, moved
from examples.junction.drawing import PERSONS, VEHICLES
from examples.junction.scene import Junction
from porting.errors import UserError


def digest(junction, frames=range(0, 60, 12)):
    found = hashlib.sha256()
    for index in frames:
        image, objects, condition = junction.frame(index)
        found.update(image.tobytes() + repr((objects, condition)).encode())
    return found.hexdigest()


def test_same_seed_same_frames_in_any_order():
    options = {"schedule": "day@0,night+rain@5,snow@9"}
    forwards, again = Junction(1, 7, **options), Junction(1, 7, **options)
    again.frame(500)
    again.frame(3)
    assert digest(forwards) == digest(again)


def test_every_camera_and_seed_is_a_world_of_its_own():
    assert len({digest(Junction(camera, seed)) for camera in (0, 1, "gate") for seed in (7, 8)}) == 6


@pytest.mark.parametrize("size", [(320, 240), (160, 120), (640, 480)], ids=str)
def test_boxes_lie_inside_the_picture_and_are_of_a_fair_size(size):
    width, height = size
    for camera in range(3):
        for index in range(0, 300, 10):
            image, objects, _ = Junction(camera, 3, width=width, height=height).frame(index)
            assert image.shape == (height, width, 3)
            assert image.dtype == np.uint8
            for one in objects:
                x1, y1, x2, y2 = one["box"]
                assert 0 <= x1 < x2 <= width
                assert 0 <= y1 < y2 <= height
                assert max(x2 - x1, y2 - y1) * 320 / width >= 12


def test_a_box_is_where_something_was_drawn():
    junction, changed = Junction(2, 11), []
    empty = junction._ground
    for index in range(0, 200, 10):
        image, objects, _ = junction.frame(index)
        differs = np.abs(image.astype(int) - empty).max(2) > 12
        for x1, y1, x2, y2 in (one["box"] for one in objects):
            changed.append(differs[round(y1) : round(y2), round(x1) : round(x2)].mean())
    assert len(changed) > 40
    assert min(changed) > 0.15


def test_tracks_keep_their_label_and_move_without_jumps():
    junction = Junction(0, 7, fps=10.0)
    tracks = defaultdict(list)
    for index in range(300):
        for one in junction.frame(index)[1]:
            tracks[one["track"]].append((index, one["label"], one["box"]))
    assert len(tracks) > 20
    for seen in tracks.values():
        assert len({label for _, label, _ in seen}) == 1
        for (before, _, a), (after, _, b) in pairwise(seen):
            if after == before + 1:  # the trailing edge of somebody who enters stands still: look at the foot
                assert abs(b[3] - a[3]) < 10
                assert min(abs(b[0] - a[0]), abs(b[2] - a[2])) < 16


def test_two_to_six_objects_are_usual_and_every_label_turns_up():
    labels, counts = set(), []
    for camera in range(4):
        junction = Junction(camera, 7)
        for index in range(0, 600, 15):
            objects = junction.frame(index)[1]
            counts.append(len(objects))
            labels |= {one["label"] for one in objects}
    assert labels == set(VEHICLES + PERSONS)
    assert 2 <= np.mean(counts) <= 6
    assert np.mean([2 <= n <= 7 for n in counts]) > 0.8


def test_a_mix_changes_who_comes_later():
    usual, buses = (
        [one["label"] for i in range(300, 900, 10) for one in Junction(0, 7, mix=mix).frame(i)[1]]
        for mix in ("even", "bus:40@20")
    )
    assert buses.count("bus") > 3 * usual.count("bus")


def test_a_knock_moves_picture_and_truth_together():
    still, knocked = Junction(0, 7), Junction(0, 7, moved_s=10.0)
    assert np.array_equal(still.frame(49)[0], knocked.frame(49)[0])
    before, after = still.scene(50), knocked.scene(50)
    assert np.array_equal(after[0], cv2.warpAffine(before[0], knocked._knock, (320, 240), borderMode=4))
    boxes = {one.track: one.box for one in before[1]}
    shifts = [np.abs(np.array(boxes[one.track]) - one.box).max() for one in after[1] if one.track in boxes]
    assert max(shifts) > 8


def test_a_moved_box_contains_its_moved_corners():
    matrix = knock(np.random.default_rng(0))
    x1, y1, x2, y2 = moved((100, 100, 140, 120), matrix)
    corner = matrix @ (100, 120, 1)
    assert x1 <= corner[0] <= x2
    assert y1 <= corner[1] <= y2


@pytest.mark.parametrize("condition", sorted(CONDITIONS))
def test_conditions_keep_the_shape_and_change_all_but_the_day(condition):
    plain = Junction(0, 7).frame(30)[0]
    image, _, name = Junction(0, 7, schedule=condition).frame(30)
    assert (image.shape, image.dtype, name) == (plain.shape, plain.dtype, condition)
    assert np.array_equal(image, plain) == (condition == "day")


@pytest.mark.parametrize("text", ["bus@soon", "bus:many@3", "bus@@1"])
def test_a_mix_that_cannot_be_read_is_explained(text):
    with pytest.raises(UserError, match="label:weight"):
        Mix.parse(text)
